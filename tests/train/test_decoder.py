"""The rearranged training arithmetic answers what the plain modules answer."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA, Place
from anymask.train.decoder import blocked, decode_blocked, unblocked


def test_blocked_order_is_undone():
    x = torch.arange(2 * 3 * 8 * 12).reshape(2, 3, 8, 12)
    torch.testing.assert_close(unblocked(blocked(x, 2, 3), 2, 3), x)


def test_groups_of_four_in_blocked_order_are_two_by_two_windows():
    x = torch.arange(16 * 16, dtype=torch.float32).reshape(1, 1, 16, 16)
    pooled = blocked(F.avg_pool2d(x, 2), 4, 4)[..., 0]
    torch.testing.assert_close(blocked(x, 4, 4)[..., 0].unflatten(1, (-1, 4)).mean(2), pooled)


@pytest.mark.parametrize("with_masks", [False, True])
def test_logits_and_scores_equal_those_of_the_modules(small, with_masks):
    torch.manual_seed(1)
    encoder, decoder = small.prompt_encoder, small.mask_decoder
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    images, per_kind, side = 2, 3, 8
    count = 2 * images * per_kind
    points, labels = torch.rand(count, 2, 2) * 64, torch.randint(0, 2, (count, 2))
    corner = torch.rand(count, 2) * 30
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2) * 20], 1)
    masks = torch.randn(count, 1, 4 * side, 4 * side) * 5 if with_masks else None
    image = torch.randn(images, 32, side, side)
    fine, middle = torch.randn(images, 4, 32, 32), torch.randn(images, 8, 16, 16)

    def each(x):
        return x[None, :, None].expand(2, -1, per_kind, -1, -1, -1).flatten(0, 2)

    with torch.no_grad():
        encoded = encoder(points, labels, boxes, masks)
        expected, scores = decoder(each(image), encoder.dense_pe(), encoded, (each(fine), each(middle)))
        place = Place.of(points, labels, boxes, (64, 64), count, encoded.sparse)
        maps = (
            place.coarse(side, side).flatten(2).transpose(1, 2),
            blocked(place.fine(16, 16, MIDDLE_SIGMA), side, side),
            blocked(place.fine(32, 32, FINE_SIGMA), side, side),
        )
        features = (image.flatten(2).transpose(1, 2), blocked(middle, side, side), blocked(fine, side, side))
        positions = encoder.dense_pe()[0].flatten(1).t()
        earlier = None if masks is None else blocked(masks, side, side)[..., 0]
        pixels, kernels, own_scores = decode_blocked(
            decoder, encoder, positions, features, encoded.sparse, maps, earlier
        )
        own = unblocked(pixels @ kernels.transpose(1, 2), side, side)
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own_scores, scores, rtol=1e-4, atol=1e-4)
