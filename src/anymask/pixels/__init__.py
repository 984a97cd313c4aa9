"""Pictures: reading them in whatever form people hold them, and mapping their pixels to a model's frame."""
