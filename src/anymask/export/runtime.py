"""A predictor on exported files that needs numpy, Pillow, OpenCV and onnxruntime, and no torch.

    predictor = OnnxPredictor("vit-b")
    predictor.set_image("photo.jpg")
    masks, scores, logits = predictor.predict(points=[[300, 200]])

For sessions, everything mode and the server, `anymask.load("vit-b")` gives the same files as a model like any other.
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadPrompt, NoImage
from anymask.models.onnx_files import decode, encode, open_parts, prompt_feeds
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW, Resize
from anymask.prompts.prompts import Prompts

Answer = tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]

_SINGLE = slice(0, 1)
_CANDIDATES = slice(1, None)


class OnnxPredictor:
    """One image at a time, encoded once.

    path: a folder that `anymask export` wrote, or one of its files. threads: that onnxruntime computes with, its own
    choice if None. device: "cpu", or "cuda" with onnxruntime's GPU build.
    Raises BadWeights, BadSetting, MissingExtra.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, device: str = "cpu") -> None:
        self.encoder, self.decoder = open_parts(os.fspath(path), threads, device)
        self._image: tuple[dict[str, NDArray[np.float32]], Resize] | None = None

    def set_image(self, image: ImageLike) -> None:
        """Encode a picture: a path, bytes, PIL image or array [H, W, 3]. Raises BadImage."""
        self._image = encode(self.encoder, Image.open(image).pixels())

    @property
    def size(self) -> HW:
        """(H, W) of the picture. Raises NoImage."""
        return self._given()[1].original

    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        logits: Any = None,
        *,
        multimask: bool | None = None,
    ) -> Answer:
        """Masks of one object.

        points: [x, y] or [K, 2]; labels: [K], 1 inside, 0 outside; box: [x0, y0, x1, y1]; all in pixels of the picture.
        logits: a row of an earlier answer's. multimask: three candidates (True), one (False), or by the paper's rule
        (None): three for a single point. A file made with --single-mask always answers one.
        Returns masks bool [M, H, W], scores [M] and logits [M, h, w], best score first. Raises BadPrompt, NoImage.
        """
        tensors, resize = self._given()
        earlier = None if logits is None else np.asarray(logits, np.float32)
        asked = Prompts.of(points, labels, box, earlier, size=resize.original)
        about = self.decoder.about
        if len(asked) != 1 or asked.masks is not None:
            raise BadPrompt("predict takes the points, the box and the logits of one object")
        if asked.low_res is not None and asked.low_res.shape[1:] != about.mask_size:
            raise BadPrompt(f"logits must be {about.mask_size} for this model, got {asked.low_res.shape[1:]}")
        feeds = prompt_feeds(
            None if asked.points is None else resize.points(asked.points),
            asked.point_labels,
            None if asked.boxes is None else resize.boxes(asked.boxes),
            asked.low_res,
            about.mask_size,
        )
        several = asked.ambiguous if multimask is None else multimask
        answers = slice(None) if about.single else _CANDIDATES if several else _SINGLE
        found, scores = decode(self.decoder, tensors, feeds, answers)
        order = np.argsort(-scores[0], kind="stable")
        masks = np.stack([upscaled(found[0, row], resize) > 0 for row in order])
        return masks, scores[0][order], found[0][order]

    def _given(self) -> tuple[dict[str, NDArray[np.float32]], Resize]:
        if self._image is None:
            raise NoImage("give the predictor a picture first: predictor.set_image(...)")
        return self._image


def upscaled(logits: NDArray[np.float32], resize: Resize) -> NDArray[np.float32]:
    """Low-resolution logits [h, w] at the picture's size, float32 [H, W], by way of the frame without its padding."""
    (height, width), inner = resize.by_way_of((logits.shape[0], logits.shape[1]))
    frame = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    frame = frame[: inner[0], : inner[1]]
    height, width = resize.original
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
