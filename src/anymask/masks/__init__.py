"""Masks: columns over run lengths, their outlines, and pictures of them."""

from anymask.masks.masks import Masks
from anymask.masks.polygons import Polygon

__all__ = ["Masks", "Polygon"]
