"""Training: batches, losses and one flat loop."""
