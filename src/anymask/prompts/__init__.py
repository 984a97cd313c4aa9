"""Prompts: what a person points at, checked and brought to one form; and simulated clicks."""

from anymask.prompts.prompts import Prompts

__all__ = ["Prompts"]
