"""Network blocks that more than one member of the family is built from."""
