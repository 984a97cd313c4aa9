"""The models inside the package: anymask-lite for pictures, and for clips with a memory beside it."""

from __future__ import annotations

from anymask.family.lite.cards import CARDS
from anymask.family.lite.model import LiteModel
from anymask.family.lite.video import LiteVideo

__all__ = ["CARDS", "LiteModel", "LiteVideo"]
