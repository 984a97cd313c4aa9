"""What a low-resolution answer is at full size: the same, pixel for pixel, as upscaling it with torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anymask.masks.rle import encode_one
from anymask.models.interface import Decoded
from anymask.pixels.resize import Resize
from anymask.session.everything import coded
from anymask.session.full_size import FullSize, Sight
from anymask.session.torch_bits import Bits

LOW, SIDE = 64, 256


def smooth(seed: int, count: int = 3, scale: float = 12.0, cells: int = 9) -> np.ndarray:
    """Blobs: float32 [count, LOW, LOW]."""
    rough = torch.randn(1, count, cells, cells, generator=torch.Generator().manual_seed(seed))
    return (scale * F.interpolate(rough, (LOW, LOW), mode="bicubic"))[0].contiguous().numpy()


def looked(full: FullSize, logits: np.ndarray, exact: torch.Tensor) -> tuple[Sight, bool]:
    found = full.look(logits)
    return (full.look_at(exact), False) if found is None else (found, True)


def check(resize: Resize, planes: np.ndarray, threshold: float = 0.0, offset: float = 1.0) -> int:
    """Compares with torch; returns how many masks were found without upscaling."""
    exact = Decoded(torch.from_numpy(planes)[None], torch.zeros(1, len(planes)), resize).upscaled()[0]
    full = FullSize(resize, planes.shape[1:], planes=len(planes), threshold=threshold, offset=offset)
    certain = 0
    for logits, values in zip(planes, exact, strict=True):
        sight, quick = looked(full, logits, values)
        certain += quick
        mask = (values > threshold).numpy()
        assert coded(sight.edges, resize.original) == encode_one(mask)
        assert sight.area == mask.sum()
        assert sight.above == int((values > threshold + offset).sum())
        assert sight.below == int((values > threshold - offset).sum())
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if mask.any() else (0, 0, 0, 0)
        assert sight.box == box
    return certain


SIZES = [(256, 256), (300, 400), (400, 300), (97, 31), (31, 97), (1200, 1801), (33, 900), (255, 257), (20, 15)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", ["long-side", "square"])
def test_blobs_are_what_torch_makes_of_them(size, fit):
    resize = Resize.fit(size, SIDE, fit)
    assert sum(check(resize, smooth(seed)) for seed in range(4)) > 6


def test_masks_that_reach_top_and_bottom_run_on_into_the_next_column():
    planes = np.full((3, LOW, LOW), 5.0, np.float32)
    planes[1, :, :20] = -5
    planes[2, 10:20] = -5
    assert check(Resize.fit((200, 200), SIDE), planes) == 3


def test_nothing_and_what_lies_in_the_padding_alone():
    planes = np.full((2, LOW, LOW), -5.0, np.float32)
    planes[1, 50:] = 5
    assert check(Resize.fit((100, 200), SIDE), planes) == 2


def test_noise_values_at_a_threshold_and_constant_planes_fall_back_to_torch_where_needed():
    noise = np.random.default_rng(0).normal(0, 0.5, (3, LOW, LOW)).astype(np.float32)
    check(Resize.fit((180, 240), SIDE), noise)
    flat = np.stack([np.full((LOW, LOW), value, np.float32) for value in (0.0, 1.0, -1.0, 1e-7)])
    check(Resize.fit((180, 240), SIDE), flat)
    ramp = np.linspace(-2, 2, LOW, dtype=np.float32)[None, None].repeat(LOW, 1)
    check(Resize.fit((256, 256), SIDE), ramp)


def test_other_thresholds_and_offsets():
    for threshold, offset in ((0.5, 0.25), (-3.0, 2.0), (0.0, 1e-6), (0.0, 0.0)):
        check(Resize.fit((300, 400), SIDE), smooth(7), threshold, offset)


def test_a_pixel_in_doubt_is_decided_as_torch_decides_it():
    """Logits whose boundary runs along a line of pixels, shifted by less than rounding."""
    place = np.arange(LOW, dtype=np.float32) - 31.5
    for shift in (0, 1e-7, -1e-7, 1e-6, 3e-6):
        planes = np.stack([np.broadcast_to(9 * place + np.float32(shift), (LOW, LOW))] * 2).copy()
        planes[1] = planes[1].T
        check(Resize.fit((333, 444), SIDE), planes)


def test_infinite_logits_are_left_to_torch():
    planes = smooth(3)
    planes[0, 5, 5] = np.inf
    assert FullSize(Resize.fit((300, 400), SIDE), (LOW, LOW)).look(planes[0]) is None


def test_a_crop_lies_where_it_was_cut_from_the_canvas():
    resize = Resize.fit((120, 150), SIDE)
    planes = smooth(11)
    alone, placed = FullSize(resize, (LOW, LOW)), FullSize(resize, (LOW, LOW), canvas=(400, 500), corner=(70, 30))
    for logits in planes:
        here, there = alone.look(logits), placed.look(logits)
        assert here is not None
        assert there is not None
        dense = np.zeros((400, 500), bool)
        dense[30:150, 70:220] = decoded(here, (120, 150))
        assert (decoded(there, (400, 500)) == dense).all()
        assert there.box == tuple(a + b for a, b in zip(here.box, (70, 30, 70, 30), strict=True))


def decoded(sight: Sight, size: tuple[int, int]) -> np.ndarray:
    from anymask.masks.rle import decode_one

    return decode_one(coded(sight.edges, size))


@pytest.mark.parametrize("size", [(1200, 1801), (683, 900), (90, 120)])
@pytest.mark.parametrize("threads", [1, 2])
def test_single_pixels_are_torchs_own_to_the_last_bit(size, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        resize = Resize.fit(size, SIDE)
        planes = smooth(5)
        exact = Decoded(torch.from_numpy(planes)[None], torch.zeros(1, 3), resize).upscaled()[0].numpy()
        random = np.random.default_rng(1)
        y, x = random.integers(0, size[0], 5000), random.integers(0, size[1], 5000)
        bits = Bits(resize, (LOW, LOW))
        for logits, values in zip(planes, exact, strict=True):
            found = bits.at(logits, y, x)
            # None is allowed (a build of torch that adds up in yet another way), a wrong bit is not
            assert found is None or np.array_equal(found, values[y, x])
    finally:
        torch.set_num_threads(before)


def test_stability_is_the_share_that_stays_and_0_for_nothing():
    assert Sight(np.zeros(0, np.int64), (0, 0, 0, 0), 0, 0, 0).stability == 0
    assert Sight(np.array([0, 3]), (0, 0, 1, 3), 3, 2, 4).stability == 0.5
