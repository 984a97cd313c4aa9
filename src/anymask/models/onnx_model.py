"""An exported model behind the interface of every other: sessions, everything mode and the server cannot tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anymask.errors import BadSetting, BadWeights, UnknownModel
from anymask.models.card import Card
from anymask.models.catalogue import card as card_of
from anymask.models.interface import UNWANTED, Decoded, Embedding, Multimask, only_one
from anymask.models.onnx_files import About, decode, encode, name_of, open_parts, prompt_feeds
from anymask.models.promptable import asked_of, mask_prompt

if TYPE_CHECKING:
    from anymask.pixels.image import Image
    from anymask.prompts.prompts import Prompts


class OnnxModel:
    """A pair of files that `anymask export` wrote, run by onnxruntime.

    path: the folder, or one of its files. device: "auto" and "cpu", or "cuda" with onnxruntime's GPU build.
    threads: that onnxruntime computes with; torch's number of threads if None.
    Raises BadWeights, BadSetting, MissingExtra.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto", threads: int | None = None) -> None:
        place = "cpu" if device == "auto" else device
        self.encoder, self.decoder = open_parts(Path(path), threads or torch.get_num_threads(), place)
        if self.decoder.about.single:
            raise BadWeights(
                f"{self.decoder.path} was exported with --single-mask, and a session needs all candidates; export it "
                "again without that"
            )
        self.card = _card(self.encoder.about)
        self.weights = name_of(self.encoder, self.decoder)

    @property
    def device(self) -> torch.device:
        """Where embeddings are: onnxruntime takes and gives them in main memory."""
        return torch.device("cpu")

    def encode(self, images: Sequence[Image]) -> Embedding:
        """Images to their embeddings, one after the other."""
        if len(images) == 0:
            raise BadSetting("encode needs at least one image")
        found = [encode(self.encoder, image.pixels()) for image in images]
        names = list(found[0][0])
        tensors = {name: _stacked([torch.from_numpy(own[name]) for own, _ in found]) for name in names}
        return Embedding(tensors, tuple(resize for _, resize in found), self.weights)

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        *,
        multimask: Multimask = None,
        min_score: float | None = None,
    ) -> Decoded:
        """Masks for P prompts on one image; see `PromptModel.decode`."""
        embedding = only_one(embedding, self.weights)
        resize = embedding.resize[0]
        mask = mask_prompt(prompts, resize, self.decoder.about.mask_size, self.device)
        feeds = prompt_feeds(
            None if prompts.points is None else resize.points(prompts.points),
            prompts.point_labels,
            None if prompts.boxes is None else resize.boxes(prompts.boxes),
            None if mask is None else mask[:, 0].numpy(),
            self.decoder.about.mask_size,
        )
        tensors = {name: tensor.numpy() for name, tensor in embedding.tensors.items()}
        rows, numbers = decode(self.decoder, tensors, feeds, asked_of(prompts, multimask))
        logits, scores = torch.from_numpy(rows), torch.from_numpy(numbers)
        if min_score is not None:
            logits[scores <= min_score] = UNWANTED
        return Decoded(logits, scores, resize)


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _card(about: About) -> Card:
    """The card of the model that a file was made of; one of what the file says, where this anymask knows none."""
    try:
        return card_of(about.model)
    except UnknownModel:
        return Card(about.model, about.title, input_side=about.side, licence=about.licence)
