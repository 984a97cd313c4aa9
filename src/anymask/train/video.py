"""A training step on clips: an object is pointed at on the first frame and followed, now and then with a correction.

Only what the memory adds is trained. The image encoder sees each frame once and without gradients, and the image
model's own decoder answers the first frame; from there on gradients flow through the memories from frame to frame.

Source: SAM 2 (arXiv 2408.00714), section 4 ("Training") and appendix D.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.promptable import PromptableModel
from anymask.nn.cell_memory import Carried, CellMemory, peaks
from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA, DensePromptEncoder, Place
from anymask.nn.mask_decoder import CANDIDATES, SINGLE, MaskDecoder
from anymask.nn.prompt_encoder import EncodedPrompts
from anymask.prompts.simulate import innermost, next_click
from anymask.train.clips import KINDS, ClipBatch
from anymask.train.decoder import blocked, pixels_and_tokens, single_blocked, unblocked
from anymask.train.losses import candidate_losses
from anymask.train.rounds import DTYPES, LOGIT_LIMIT
from anymask.train.sampler import place_of
from anymask.train.settings import TrainSettings

DRAWN = 10.0
"""The logit of what a person drew."""
POINTERS = 7
"""Object pointers that the decoder is told of, at most."""


class Seen(NamedTuple):
    """A frame as P objects' answers read it.

    appearance, keys: [P, ...], where the picture is. image, middle, fine: of B clips, blocked.
    """

    appearance: Tensor
    keys: Tensor
    blocked: tuple[Tensor, Tensor, Tensor]


class Said(NamedTuple):
    """An answer: logits [P, N] blocked, token [P, C] after the decoder, presence [P] logits."""

    logits: Tensor
    token: Tensor
    presence: Tensor


class Followed(nn.Module):
    """The loss of clips for a model with a memory beside it (`family.lite.video`).

    model: with `image_encoder`, `prompt_encoder` and `mask_decoder`, which stay as they are, and `memory`, a
    `CellMemory` with a `decoder`.
    """

    def __init__(self, model: PromptableModel, settings: TrainSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self.dtype = DTYPES[settings.precision]
        model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        wrap: Callable[..., Any] = torch.compile(dynamic=False) if settings.compiled else lambda f: f
        self._decode = wrap(self._decode_plain)

    @property
    def memory(self) -> CellMemory:
        return cast(CellMemory, self.model.memory)

    @property
    def decoder(self) -> MaskDecoder:
        return cast(MaskDecoder, self.memory.decoder)

    def forward(self, batch: ClipBatch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss over objects and frames; mean IoU of the last frame, of all, and of the memory alone."""
        settings, memory, model = self.settings, self.memory, self.model
        device = model.device
        side = batch.frames.shape[2]
        if model.preprocess.side != side:
            model.set_side(side)  # type: ignore[operator]
        count, objects = len(batch.frames), batch.targets.shape[1]
        rows, columns = (edge // 16 for edge in batch.shown)
        cells = side // 16
        low, high = settings.focal
        weight = torch.tensor(low + (high - low) * batch.progress, device=device)
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            features = self._features(batch)
            truth = torch.from_numpy(batch.targets.view(np.uint8)).to(device).float()
            first = self._first(features, batch, truth[0])
            banks: list[tuple[int, Tensor]] = []
            pointers = [memory.pointers(first.token.float(), first.presence)]
            seen = self._seen(features, 0, objects // count, rows, columns)
            logits = self._dense(first.logits)
            prompted = [self._kept(seen, (logits > 0).float(), first.presence, rows, columns)]
            total = torch.zeros((), device=device)
            ious, alone, right = [], [], []
            for t in range(1, settings.frames):
                seen = self._seen(features, t, objects // count, rows, columns)
                told = [(maps, 0) for maps in prompted]
                told += [(maps, t - at) for at, maps in banks if t - at <= memory.slots]
                carried = self._padded(memory(seen.appearance, seen.keys, told, cells), cells, rows, columns)
                said = [one.float() for one in pointers[-POINTERS:]]
                hints = memory.hinted(torch.stack(said, 1), said[-1])
                earlier = F.interpolate(carried.logits, model.prompt_encoder.mask_size, mode="bilinear")
                answer, score = self._asked(seen, earlier, carried.addition, hints, peaks(carried.logits, 8))
                there = truth[t].flatten(1).any(1)
                loss, iou = self._loss(answer, score, truth[t], there, weight)
                total = total + loss + settings.carried * self._carried_loss(carried.logits, truth[t], there)
                with torch.no_grad():
                    ious.append(_mean(iou, there))
                    alone.append(_mean(_iou(carried.logits[:, 0] > 0, truth[t]), there))
                    right.append(float(((answer.presence > 0) == there).float().mean()))
                corrected = t in batch.corrected and bool(there.any())
                if corrected:
                    clicks = self._corrections(self._dense(answer.logits), batch, t)
                    fed = self._dense(answer.logits).detach()[:, None].clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
                    answer, score = self._asked(seen, fed, carried.addition, hints, clicks)
                    loss, iou = self._loss(answer, score, truth[t], there, weight)
                    total = total + settings.later * loss
                    # who corrects an object says whether it is there
                    answer = answer._replace(presence=torch.where(there, DRAWN, answer.presence))
                pointers.append(memory.pointers(answer.token.float(), answer.presence))
                if t < settings.frames - 1:
                    gone = (answer.presence <= 0)[:, None, None]
                    masks = torch.sigmoid(self._dense(answer.logits).float())
                    if corrected:
                        masks = (masks > 0.5).float()
                    kept = self._kept(seen, masks.masked_fill(gone, 0.0), answer.presence, rows, columns)
                    if corrected:
                        prompted.append(kept)
                    else:
                        banks.append((t, kept))
        total = total / (settings.frames - 1)
        report = {"loss": float(total.detach()), "iou": _average(ious), "last": _average(ious[-1:])}
        return total, report | {"memory": _average(alone), "presence": _average(right)}

    # the frames

    def _features(self, batch: ClipBatch) -> dict[str, Tensor]:
        """All frames' features, [T, B, ...] each, without gradients."""
        clips, frames = batch.frames.shape[:2]
        pixels = torch.from_numpy(batch.frames).to(self.model.device).transpose(0, 1).flatten(0, 1)
        x = self.model.preprocess.mean_std(pixels.permute(0, 3, 1, 2).float())
        with torch.no_grad():
            found = self.model.image_encoder(x.contiguous(memory_format=torch.channels_last))
        return {name: tensor.unflatten(0, (frames, clips)) for name, tensor in found.items()}

    def _seen(self, features: dict[str, Tensor], t: int, each: int, rows: int, columns: int) -> Seen:
        image, looks = features["image"][t].float(), features["looks"][t].float()
        height, width = image.shape[2:]
        appearance = self.memory.appearance(image, looks)[..., :rows, :columns]
        keys = self.memory.keys(appearance)
        parts = (image, features["high_res_1"][t], features["high_res_0"][t])
        flat = (parts[0].flatten(2).transpose(1, 2), *(blocked(one, height, width) for one in parts[1:]))
        fine, middle, coarse = (one.to(self.dtype) for one in reversed(flat))
        spread, asking = (one.repeat_interleave(each, 0) for one in (appearance, keys))
        return Seen(spread, asking, (coarse, middle, fine))

    def _first(self, features: dict[str, Tensor], batch: ClipBatch, truth: Tensor) -> Said:
        """The first frame's answers, as the image model gives them."""
        model, device = self.model, self.model.device
        encoder, decoder = model.prompt_encoder, model.mask_decoder
        objects = len(truth)
        each = objects // len(batch.frames)
        logits, tokens = [], []
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for row in range(objects):
                one = {name: tensor[0, row // each][None].float() for name, tensor in features.items()}
                kind = KINDS[batch.kinds[row]]
                answers = CANDIDATES if kind == "clicked" else SINGLE
                encoded: EncodedPrompts
                if kind == "boxed":
                    encoded = encoder(None, None, torch.from_numpy(batch.boxes[row : row + 1]).to(device))
                elif kind == "clicked":
                    point = torch.from_numpy(batch.clicks[row : row + 1]).to(device)[:, None]
                    encoded = encoder(point, torch.ones(1, 1, dtype=torch.long, device=device))
                else:
                    low = (2 * truth[row] - 1)[None, None] * DRAWN
                    nowhere = torch.zeros(1, 1, 2, device=device), torch.full((1, 1), -1, device=device)
                    encoded = encoder(*nowhere, None, low)
                high_res = (one["high_res_0"], one["high_res_1"])
                answer = decoder.answer(one["image"], encoder.dense_pe(), encoded, high_res, answers)
                best = int(answer.scores[0].argmax())
                logits.append(low[0] if kind == "drawn" else answer.logits[0, best][None])
                tokens.append(answer.tokens[0, best])
            presence = torch.full((objects,), DRAWN, device=device)
            flat = blocked(torch.stack(logits), *encoder.grid)[..., 0]
        return Said(flat, torch.stack(tokens), presence)

    # the memory

    def _kept(self, seen: Seen, masks: Tensor, presence: Tensor, rows: int, columns: int) -> Tensor:
        scale = 16 // (self.model.preprocess.side // self.model.prompt_encoder.mask_size[0])
        shown = masks[:, : rows * scale, : columns * scale]
        return self.memory.made(seen.appearance, seen.keys, shown, presence)

    def _padded(self, carried: Carried, cells: int, rows: int, columns: int) -> Carried:
        beyond = (0, 2 * (cells - columns), 0, 2 * (cells - rows))
        return Carried(F.pad(carried.addition, beyond), F.pad(carried.logits, beyond, value=-DRAWN))

    # the answers

    def _asked(
        self, seen: Seen, earlier: Tensor, addition: Tensor, hints: Tensor, clicks: tuple[Tensor, Tensor]
    ) -> tuple[Said, Tensor]:
        """What the memory's decoder says, and its score [P, 1].

        earlier: logits [P, 1, h, w]. clicks: points [P, K, 2] in model px and labels [P, K].
        """
        encoder = cast(DensePromptEncoder, self.model.prompt_encoder)
        height, width = encoder.grid
        with torch.no_grad(), torch.autocast(earlier.device.type, enabled=False):
            tokens = encoder._points(*clicks, pad=True)
            place = Place.of(*clicks, None, encoder.input_size, len(hints), hints)
            maps = (
                place.coarse(height, width).to(self.dtype).flatten(2).transpose(1, 2),
                blocked(place.fine(2 * height, 2 * width, MIDDLE_SIGMA).to(self.dtype), height, width),
                blocked(place.fine(4 * height, 4 * width, FINE_SIGMA).to(self.dtype), height, width),
            )
            pe = encoder.dense_pe()[0].flatten(1).t().to(self.dtype)
        sparse = torch.cat([tokens, encoder.not_a_point_embed.weight + hints], 1).to(self.dtype)
        added = addition.flatten(2).transpose(1, 2)
        fed = blocked(earlier.to(self.dtype), height, width)[..., 0]
        logits, score, token, presence = self._decode(pe, seen.blocked, sparse, maps, fed, added)
        return Said(logits[:, 0], token, presence), score

    def _decode_plain(
        self, pe: Tensor, features: Any, sparse: Tensor, maps: Any, earlier: Tensor, addition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        with torch.autocast(pe.device.type, enabled=False):
            encoder = cast(DensePromptEncoder, self.model.prompt_encoder)
            pixels, tokens = pixels_and_tokens(
                self.decoder, encoder, pe, features, sparse, maps, earlier, kinds=1, addition=addition
            )
            return single_blocked(self.decoder, pixels, tokens)

    def _dense(self, logits: Tensor) -> Tensor:
        """Blocked logits [P, N] as [P, h, w]."""
        return unblocked(logits[..., None], *self.model.prompt_encoder.grid)[:, 0]

    def _corrections(self, logits: Tensor, batch: ClipBatch, t: int) -> tuple[Tensor, Tensor]:
        """A click for each object where its answer is wrong; none for those that are not to be seen."""
        device = logits.device
        said, truth = (logits > 0).cpu().numpy(), batch.targets[t]
        points, labels = np.zeros((len(said), 1, 2), np.float32), np.full((len(said), 1), -1)
        ratio = batch.frames.shape[2] // truth.shape[1]
        rng = np.random.default_rng((self.settings.seed, batch.numbers[0], 3 + t))
        for row, (mask, true) in enumerate(zip(said, truth, strict=True)):
            if not true.any():
                continue
            click = next_click(mask, true, rng)
            x, y, inside = (*innermost(true)[:2], True) if click is None else click
            points[row, 0], labels[row, 0] = place_of(x, y, ratio), int(inside)
        return torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device)

    # the losses

    def _loss(self, answer: Said, score: Tensor, truth: Tensor, there: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Of masks and scores where the object is to be seen, of presence everywhere; and the IoUs [P]."""
        settings = self.settings
        target = blocked(truth[:, None], *self.model.prompt_encoder.grid)[..., 0]
        losses = candidate_losses(answer.logits[:, None], score, target)
        each = weight * losses.focal + settings.dice * losses.dice + settings.score * losses.score
        visible = there.float()
        presence = F.binary_cross_entropy_with_logits(answer.presence, visible)
        return (each[:, 0] * visible).mean() + settings.presence * presence, losses.iou[:, 0].detach()

    def _carried_loss(self, logits: Tensor, truth: Tensor, there: Tensor) -> Tensor:
        """Cross entropy and dice of the memory's own logits [P, 1, h, w]."""
        shares = F.adaptive_avg_pool2d(truth[:, None], (logits.shape[2], logits.shape[3]))
        entropy = F.binary_cross_entropy_with_logits(logits, shares)
        p = torch.sigmoid(logits)
        dice = 1 - (2 * (p * shares).sum((1, 2, 3)) + 1) / ((p + shares).sum((1, 2, 3)) + 1)
        return entropy + (dice * there.float()).mean()


def _iou(answer: Tensor, truth: Tensor) -> Tensor:
    """Of masks [P, h, w], the answer coarser, [P]."""
    coarse = F.adaptive_avg_pool2d(truth, (answer.shape[1], answer.shape[2])) > 0.5
    both, either = (answer & coarse).sum((1, 2)), (answer | coarse).sum((1, 2))
    return both / either.clamp(min=1)


def _mean(values: Tensor, there: Tensor) -> float:
    return float(values[there].mean()) if bool(there.any()) else float("nan")


def _average(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else 0.0
