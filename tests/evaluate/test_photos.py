"""Which masks take part where there are very many, or where data comes as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from anymask.data.sample import Sample
from anymask.errors import BadSetting
from anymask.evaluate import photos
from anymask.evaluate.photos import ENOUGH, mask_units
from anymask.evaluate.protocol import Choice
from anymask.masks.rle import encode_one

MASK = encode_one(np.eye(4, dtype=bool))


@dataclass
class Many:
    """A set of `count` photos with 100 masks each."""

    count: int
    name: str = "many"
    licence: str = ""

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return Sample(f"{index:04}", (4, 4), (MASK,) * 100)


class Endless:
    """A stream that never ends."""

    name, licence = "endless", ""

    def __iter__(self):
        number = 0
        while True:
            yield Sample(str(number), (4, 4), (MASK,) * 100)
            number += 1


@pytest.fixture
def data(monkeypatch):
    def given(*sets):
        monkeypatch.setattr(photos, "open_data", lambda path, kind=None: list(sets))

    return given


def test_of_more_than_15000_masks_photos_are_drawn_until_there_are_10000(data):
    data(Many(160))
    names = [unit.name for unit in mask_units(Path(), Choice())]
    assert len(names) == ENOUGH / 100 and names == sorted(names)
    assert names == [unit.name for unit in mask_units(Path(), Choice())]
    assert names != [unit.name for unit in mask_units(Path(), Choice(seed=1))]


def test_fewer_masks_are_all_taken_and_a_cap_goes_before(data):
    data(Many(140))
    assert sum(unit.masks for unit in mask_units(Path(), Choice())) == 14_000
    data(Many(160))
    assert sum(unit.masks for unit in mask_units(Path(), Choice(cap=30))) == 30
    assert sum(unit.masks for unit in mask_units(Path(), Choice(), thin_out=False)) == 16_000


def test_of_a_stream_the_first_masks_are_taken(data):
    data(Endless())
    assert [unit.name for unit in mask_units(Path(), Choice(cap=200))] == ["0", "1"]
    assert sum(unit.masks for unit in mask_units(Path(), Choice())) == ENOUGH


def test_unknown_sets_are_answered_with_those_there_are(data):
    data(Many(1))
    with pytest.raises(BadSetting, match="no set few; it has many"):
        mask_units(Path(), Choice(only=("few",)))
