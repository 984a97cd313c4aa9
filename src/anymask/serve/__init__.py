"""The server: one model, many people, and the page."""
