"""What a model is: its card, its interface, its weights."""
