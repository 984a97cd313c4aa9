"""`anymask.Session`, answered by a server."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from anymask.client.http import Http, error_of
from anymask.errors import AnymaskError, NotHere
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts
from anymask.prompts.steps import Points, Step, Steps
from anymask.records import wire

TOGETHER = 64
"""Prompts in one request."""


class RemoteSession(Steps):
    """An image that was sent to a server, with `Session`'s methods. Made by `Remote.Session`.

    When the server has forgotten the image or an answer, it is sent, or asked for, again.
    """

    def __init__(self, http: Http, image: ImageLike, model: str | None = None) -> None:
        self._http = http
        self.image = Image.open(image)
        self.model = model
        self._id = self._send()
        self.reset()

    @property
    def size(self) -> HW:
        """(H, W) of the image in pixels."""
        return self.image.size

    # single questions

    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        multimask: bool | None = None,
        *,
        logits: bool = False,
    ) -> Masks:
        """As `Session.predict`. logits: also bring the low-resolution logits along, 350 kB a mask.

        Raises BadPrompt, and what the server cannot do as errors of ours.
        """
        return self.answer(Prompts.of(points, labels, boxes, mask, size=self.size), multimask, logits=logits)

    def answer(self, prompts: Prompts, multimask: bool | None = None, *, logits: bool = False) -> Masks:
        """`predict` for prompts that are already `Prompts`."""
        more = {"multimask": multimask, "logits": logits, "model": self.model}
        asked = [{**_told(prompts, row), **more} for row in range(len(prompts))]
        found: list[Masks] = []
        if len(asked) == 1:
            found.append(self._decode(asked[0])[0])
        for start in range(0, len(asked) if len(asked) > 1 else 0, TOGETHER):
            found += self._decode_many(asked[start : start + TOGETHER])
        parts = [one.replace(ids=np.full(len(one), row), image=self.image) for row, one in enumerate(found)]
        return parts[0] if len(parts) == 1 else Masks.join(parts)

    def everything(
        self, preset: str = "default", *, tell: Callable[[int, int], None] | None = None, **options: Any
    ) -> Masks:
        """As `anymask.everything` of this image. tell: called with (hundredths done, 100)."""
        side = options.pop("points_per_side", None)
        body = {"model": self.model, "preset": preset, "points_per_side": side, "options": options}
        job = self._patiently(lambda: self._http.json("POST", f"/api/images/{self._id}/everything", body))
        try:
            state = job
            for state in self._http.events(f"/api/jobs/{job['id']}/events"):
                if tell is not None and state.get("progress") is not None:
                    tell(round(100 * state["progress"]), 100)
        except BaseException:
            # nobody waits for it any more
            with contextlib.suppress(AnymaskError):
                self._http.json("DELETE", f"/api/jobs/{job['id']}")
            raise
        if state["state"] != "done":
            raise AnymaskError(f"the server did not finish: {state['message'] or state['state']}")
        reply = self._http.reply("GET", f"/api/jobs/{job['id']}/masks", headers={"Accept": wire.BINARY})
        return wire.read(reply.content)[0].replace(image=self.image)

    # clicks that build on each other: see Steps

    def _answer(self, points: Points, labels: tuple[int, ...], box: tuple[float, ...] | None) -> Step:
        return self._step(self._now, points, labels, box)

    def _step(self, before: Step, points: Points, labels: tuple[int, ...], box: tuple[float, ...] | None) -> Step:
        # what Prompts refuse needs no server to say so
        Prompts.of(points or None, labels or None, box, size=self.size)
        asked: dict[str, Any] = {"points": points, "labels": labels, "box": box, "model": self.model}
        if before.name is None:
            masks, name, note = self._decode(asked)
        else:
            try:
                masks, name, note = self._decode({**asked, "previous": _named(before)})
            except NotHere:
                masks, name, note = self._decode({**asked, "previous": _named(self._replayed())})
        return Step(points, labels, box, masks.replace(image=self.image), 0, note, name)

    def _replayed(self) -> Step:
        """All steps so far asked again, since the server has forgotten its answers; the last of them."""
        fresh = [Step()]
        for old in self._steps[1:]:
            if old.candidates is not None and fresh[-1].points == old.points and fresh[-1].box == old.box:
                fresh.append(Step(old.points, old.labels, old.box, old.candidates, old.chosen, "", fresh[-1].name))
            else:
                one = self._step_alone(fresh[-1], old)
                fresh.append(Step(old.points, old.labels, old.box, one.candidates, old.chosen, old.note, one.name))
        self._steps = fresh
        return fresh[-1]

    def _step_alone(self, before: Step, old: Step) -> Step:
        asked: dict[str, Any] = {"points": old.points, "labels": old.labels, "box": old.box, "model": self.model}
        if before.name is not None:
            asked["previous"] = _named(before)
        masks, name, note = self._decode(asked)
        return Step(old.points, old.labels, old.box, masks.replace(image=self.image), 0, note, name)

    # requests

    def _decode(self, asked: dict[str, Any]) -> tuple[Masks, str | None, str]:
        headers = {"Accept": wire.BINARY}
        reply = self._patiently(
            lambda: self._http.reply("POST", f"/api/images/{self._id}/decode", asked, headers=headers),
            builds="previous" in asked,
        )
        return wire.read(reply.content)

    def _decode_many(self, asked: list[dict[str, Any]]) -> list[Masks]:
        def ask() -> list[dict[str, Any]]:
            body = {"requests": [{"image": self._id, **one} for one in asked]}
            answers: list[dict[str, Any]] = self._http.json("POST", "/api/decode", body)["answers"]
            for answer in answers:
                if "error" in answer:
                    raise error_of(answer["kind"], answer["error"])
            return answers

        return [wire.read(answer)[0] for answer in self._patiently(ask)]

    def _patiently(self, ask: Callable[[], Any], *, builds: bool = False) -> Any:
        """What `ask` gives; the image is sent again where the server has forgotten it.

        builds: the request names an earlier answer, which may be what was forgotten.
        """
        try:
            return ask()
        except NotHere:
            known = self._http.reply_or_none("GET", f"/api/images/{self._id}")
            if known is not None:
                raise
            self._id = self._send()
            if builds:
                raise
            return ask()

    def _send(self) -> str:
        """Sends the image; a JPEG or PNG file as it is, if the server sees the same pixels in it."""
        name = os.path.basename(self.image.source) if self.image.source else ""
        if self.image.source and name.lower().endswith((".jpg", ".jpeg", ".png")):
            with contextlib.suppress(OSError, AnymaskError):
                with open(self.image.source, "rb") as file:
                    found = self._post(file.read(), name)
                if found == self.image.digest:
                    return found
        out = io.BytesIO()
        self.image.to_pil().save(out, "PNG", compress_level=1)
        return self._post(out.getvalue(), name)

    def _post(self, content: bytes, name: str) -> str:
        return str(self._http.json("POST", "/api/images", content=content, params={"name": name})["id"])

    def __repr__(self) -> str:
        height, width = self.size
        return f"RemoteSession({width} x {height} px, {self._http.address}, {self.steps} steps)"


def _named(step: Step) -> dict[str, Any]:
    return {"answer": step.name, "candidate": step.chosen}


def _told(prompts: Prompts, row: int) -> dict[str, Any]:
    """One object's prompts as the wire has them."""
    found: dict[str, Any] = {}
    if prompts.points is not None and prompts.point_labels is not None:
        used = prompts.point_labels[row] >= 0
        found["points"] = prompts.points[row][used].tolist()
        found["labels"] = prompts.point_labels[row][used].tolist()
    if prompts.boxes is not None:
        found["box"] = prompts.boxes[row].tolist()
    if prompts.masks is not None:
        rle = encode_one(prompts.masks[row])
        found["mask"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    if prompts.low_res is not None:
        found["low_res"] = wire.logits_as_dict(prompts.low_res[row])
    return found
