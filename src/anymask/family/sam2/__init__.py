"""SAM 2 and 2.1 (arXiv 2408.00714): clicks in images and clips."""

from __future__ import annotations

from anymask.family.sam2.cards import CARDS

__all__ = ["CARDS"]
