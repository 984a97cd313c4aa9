"""Text for XML, which cannot hold every character that a file name or a label may."""

from __future__ import annotations


def plain(text: str) -> str:
    """Ready to stand between two tags."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def visible(text: str) -> str:
    """Without control characters, lone surrogates and the two numbers that are no characters."""
    return "".join(
        letter
        for letter in text
        if letter >= " " and not "\ud800" <= letter <= "\udfff" and letter not in "\ufffe\uffff"
    )
