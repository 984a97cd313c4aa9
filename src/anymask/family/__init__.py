"""The members of the family: one file or folder each."""
