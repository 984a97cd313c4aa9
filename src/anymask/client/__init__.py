"""The server from a distance: the same methods over HTTP, without torch."""
