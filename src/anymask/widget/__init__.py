"""The page inside a notebook."""
