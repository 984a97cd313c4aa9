"""Following objects through a clip: sessions over frames, the bank of memories, what is recalled of it."""
