"""Sessions: an image encoded once, and the prompts on it."""
