"""Records: what was found in an image and how, and the files they live in, one format a module."""

from anymask.records.record import ImageRef, Provenance, Record

__all__ = ["ImageRef", "Provenance", "Record"]
