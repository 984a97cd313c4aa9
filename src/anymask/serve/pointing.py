"""For tools that send the picture and all clicks each time: answers as good as if they built on earlier ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from anymask.errors import BadPrompt
from anymask.masks.masks import Masks
from anymask.serve.engine import Ask
from anymask.serve.store import Answer, size_of
from anymask.serve.uploads import opened
from anymask.session.clicks import Clicks

if TYPE_CHECKING:
    from anymask.serve.service import Service


@dataclass(frozen=True)
class Pointing:
    """One object. points: (x, y) pixels of the picture. labels: 1 inside, 0 outside. box: XYXY pixels."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def without(self, row: int) -> Pointing:
        """The same before point `row` was clicked."""
        rest = [index for index in range(len(self.points)) if index != row]
        return Pointing(tuple(self.points[i] for i in rest), tuple(self.labels[i] for i in rest), self.box)

    def key(self, picture: str, model: str) -> str:
        """What an answer to it is kept under; the order of clicks does not matter."""
        clicks = sorted(zip(self.points, self.labels, strict=True))
        return hashlib.sha256(repr((picture, model, clicks, self.box)).encode()).hexdigest()


class Pointings:
    """Asks the server's default model. Answers are remembered, so that a further click is taken as one."""

    def __init__(self, own: Service) -> None:
        self.own = own

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.own.models.resolve(None)

    async def masks(self, content: bytes, pointing: Pointing) -> Masks:
        """Candidates for one object in the picture that a file holds, best first. Raises BadImage, BadPrompt."""
        own, model = self.own, self.model
        if pointing.box is None and not any(pointing.labels):
            raise BadPrompt("the first point must be inside the object; points outside take away from a mask")
        image = await anyio.to_thread.run_sync(opened, content, own.settings.max_pixels)
        picture = await anyio.to_thread.run_sync(lambda: image.digest)
        before = self._before(pointing, picture, model)
        clicks = Clicks(
            pointing.points, pointing.labels, pointing.box, Masks(image.size, []) if before is None else before
        )
        found, _, _ = await own.answer(
            Ask(image, model, clicks.questions(), clicks.settle, clicks.more), picture, keep=False
        )
        own.answers.put(pointing.key(picture, model), Answer(picture, model, found), size_of(found))
        return found

    def _before(self, pointing: Pointing, picture: str, model: str) -> Masks | None:
        """The best answer to all clicks but one, where that was asked."""
        for row in reversed(range(len(pointing.points))):
            found = self.own.answers.get(pointing.without(row).key(picture, model))
            if found is not None and len(found.masks):
                return found.masks[:1]
        return None
