"""What the lean decoder makes of an image once, for however many prompts come after.

The latest images of a decoder are kept as long as their embeddings live: everything mode asks for a thousand prompts in
batches, and people click again and again, on a server each on another picture. How prompts are decoded depends on the
prompts alone, never on what was kept, so the same question has the same answer to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from anymask.nn.dense_prompts import UndrawnPrompts
from anymask.nn.fast_cells import SharedCells
from anymask.nn.fast_drawing import biases, second
from anymask.nn.fast_low_rank import LayeredImage
from anymask.nn.fast_upscale import Upscaler

if TYPE_CHECKING:
    from anymask.nn.mask_decoder import MaskDecoder
    from anymask.nn.prompt_encoder import EncodedPrompts
    from anymask.nn.two_way import TwoWayBlock


KEPT = 4
"""Images of a decoder, of about 4 to 17 MB each."""


class Prepared:
    """One image, or an image for each prompt, as the lean decoder wants it.

    cells: [1 or P, N, C], the embedding and what is added to it for every prompt; places: [N, C]. drawing: the layer
    [C, D] of what prompts draw. shared, layered: made when they are first asked for.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        image: Tensor,
        pe: Tensor,
        prompts: EncodedPrompts | UndrawnPrompts,
        high_res: tuple[Tensor, Tensor] | None,
    ) -> None:
        maps: tuple[Tensor, Tensor] | None = None
        whole = image + prompts.dense
        self.drawing: Tensor | None = None
        if isinstance(prompts, UndrawnPrompts):
            maps = biases(prompts.encoder)
            self.drawing, bias = second(prompts.encoder)
            whole = whole + bias
        else:
            maps = prompts.high_res
        self.grid = (image.shape[-2], image.shape[-1])
        self.cells, self.places = _rows(whole), _rows(pe)[0]
        self.upscaler = Upscaler(decoder, self.grid, high_res, maps)
        self._shared: SharedCells | None = None
        self._layered: LayeredImage | None = None

    def shared(self, decoder: MaskDecoder) -> SharedCells:
        """For several prompts on one image."""
        if self._shared is None:
            block: TwoWayBlock = decoder.transformer.layers[0]  # type: ignore[assignment]
            self._shared = SharedCells.of(block, self.cells[0], self.places, self.drawing)
        return self._shared

    def layered(self, decoder: MaskDecoder) -> LayeredImage:
        """For many prompts on one image into which nothing is drawn."""
        if self._layered is None:
            self._layered = LayeredImage(decoder, self.cells[0], self.places, self.upscaler.first)
        return self._layered


class _Kept:
    """A prepared image and what it was made of.

    Parameters are held, so that no other tensor can take their place in memory and pass for them; the embedding is not,
    for it is the caller's to drop.
    """

    def __init__(self, made: Prepared, given: list[Tensor], embedding: list[Tensor]) -> None:
        self.made, self.given, self.marks = made, given, [_mark(tensor) for tensor in given + embedding]
        self.embedding = [ref(tensor) for tensor in embedding]

    @property
    def alive(self) -> bool:
        """Whether the embedding is still somebody's."""
        return all(kept() is not None for kept in self.embedding)

    def fits(self, given: list[Tensor], embedding: list[Tensor]) -> bool:
        """Whether the very same tensors are asked about, unchanged."""
        return (
            len(self.embedding) == len(embedding)
            and all(kept() is tensor for kept, tensor in zip(self.embedding, embedding, strict=True))
            and self.marks == [_mark(tensor) for tensor in given + embedding]
        )


# lists are replaced, never changed: several threads decode
_LATEST: WeakKeyDictionary[MaskDecoder, list[_Kept]] = WeakKeyDictionary()


def prepared(
    decoder: MaskDecoder,
    image: Tensor,
    pe: Tensor,
    prompts: EncodedPrompts | UndrawnPrompts,
    high_res: tuple[Tensor, Tensor] | None,
) -> Prepared:
    """The image for these prompts, kept from an earlier call where nothing has changed."""
    # a mask of the prompt's own has been laid over this one: nobody will ask for that again
    same = len(image) == 1 and len(prompts.dense) == 1 and prompts.dense.stride()[-2:] == (0, 0)
    embedding = [image, *(high_res or ())]
    given = [pe, prompts.dense, *decoder.parameters()]
    if isinstance(prompts, UndrawnPrompts):
        given += prompts.encoder.parameters()
    else:
        same = same and prompts.high_res is None
    if not same or any(tensor.is_inference() for tensor in given + embedding):
        # changes of tensors made in inference mode are not counted
        return Prepared(decoder, image, pe, prompts, high_res)
    others = _LATEST.get(decoder, [])
    kept = next((one for one in others if one.fits(given, embedding)), None)
    if kept is None:
        kept = _Kept(Prepared(decoder, image, pe, prompts, high_res), given, embedding)
        gone = ref(decoder)

        def forget(dead: ref[Tensor]) -> None:
            owner = gone()
            if owner is not None:
                _LATEST[owner] = [one for one in _LATEST.get(owner, []) if one.embedding[0] is not dead]

        kept.embedding[0] = ref(image, forget)
    # of one embedding only the latest: an older one was made before a change
    rest = [one for one in others if one is not kept and one.alive and one.embedding[0]() is not image]
    _LATEST[decoder] = [kept, *rest][:KEPT]
    return kept.made


def _mark(tensor: Tensor) -> tuple[int, int, torch.Size, tuple[int, ...]]:
    return tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride()


def _rows(maps: Tensor) -> Tensor:
    """[B, C, h, w] to contiguous rows [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2).contiguous()
