"""Files: one format a module, written whole or not at all."""
