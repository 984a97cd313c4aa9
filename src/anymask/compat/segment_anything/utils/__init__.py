"""Modules that scripts import by their official names."""
