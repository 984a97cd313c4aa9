"""segment-anything's SamPredictor, answered by a server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.client.http import Http
from anymask.client.session import RemoteSession
from anymask.errors import BadPrompt, BadSetting, NoImage
from anymask.pixels.image import Image


class RemotePredictor:
    """`set_image` and `predict` under their official names and with their arrays. Made by `Remote.predictor`."""

    def __init__(self, http: Http, model: str | None = None) -> None:
        self._http, self._model = http, model
        self.reset_image()

    def reset_image(self) -> None:
        """Forgets the image."""
        self._session: RemoteSession | None = None
        self.original_size: tuple[int, int] | None = None
        self.is_image_set = False

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Sends an image, uint8 [H, W, 3]; `image_format` is "RGB" or "BGR". Raises BadImage, BadSetting."""
        if image_format not in ("RGB", "BGR"):
            raise BadSetting(f"image_format must be 'RGB' or 'BGR', got {image_format!r}")
        opened = Image.open(image, image_format="BGR" if image_format == "BGR" else "RGB")
        self.reset_image()
        self._session = RemoteSession(self._http, opened, self._model)
        self.original_size, self.is_image_set = opened.size, True

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Masks bool [C, H, W], predicted IoU [C] and low-resolution logits [C, h, w], best first.

        point_coords: [N, 2] (x, y) pixels. point_labels: [N], 1 inside, 0 outside. box: [4] XYXY. mask_input: [1, h, w]
        logits of an earlier answer. Raises NoImage before an image is set, BadPrompt, BadSetting.
        """
        if self._session is None:
            raise NoImage("An image must be set with .set_image(...) before mask prediction.")
        if return_logits:
            raise BadSetting("a server sends masks, not logits in the image's size; use the low-resolution ones")
        if point_coords is not None and point_labels is None:
            raise BadPrompt("point_labels must be supplied if point_coords is supplied.")
        boxes = None if box is None else np.asarray(box, np.float64).reshape(-1)
        logits = None if mask_input is None else np.asarray(mask_input, np.float32)
        masks = self._session.predict(
            None if point_coords is None else np.asarray(point_coords).tolist(),
            None if point_labels is None else np.asarray(point_labels).tolist(),
            boxes,
            logits,
            multimask=bool(multimask_output),
            logits=True,
        )
        assert masks.logits is not None
        return masks.dense(), masks.scores, masks.logits
