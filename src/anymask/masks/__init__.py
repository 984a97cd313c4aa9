"""Masks: kept as run lengths, with their scores and outlines, dense only on request."""
