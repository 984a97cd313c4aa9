"""Following objects through a clip: sessions over frames, the bank of memories, what is recalled of it."""

from anymask.track.saved import restore
from anymask.track.session import VideoSession, video

__all__ = ["VideoSession", "restore", "video"]
