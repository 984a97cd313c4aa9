"""Evaluation by the published protocols."""
