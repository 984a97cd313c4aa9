"""Photos with true masks, from whatever layout they come in."""
