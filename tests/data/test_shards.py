"""Tar shards: every sample once, whoever reads; shuffled by a seed; gone on with where they were left."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from anymask.data.open import open_data
from anymask.data.sample import Stream
from anymask.data.shards import Shards
from anymask.errors import BadImage, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one
from anymask.records import sa1b
from anymask.records.record import ImageRef, Record

SIZE = (20, 30)


def contents(number: int) -> tuple[bytes, bytes, np.ndarray]:
    """(picture, JSON, mask) of a sample."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    dense = (x - number % 20 - 5) ** 2 + (y - 10) ** 2 < 30
    out = io.BytesIO()
    Pillow.new("RGB", (SIZE[1], SIZE[0]), (number, 2, 3)).save(out, "PNG")
    record = Record(ImageRef(f"sa_{number}.png", SIZE), Masks.from_dense(dense[None]))
    return out.getvalue(), sa1b.as_text(record).encode(), dense


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Seven shards of five samples, 35 in all, as SA-1B's: names begin with "./", JSON and pictures in any order."""
    root = tmp_path_factory.mktemp("sa")
    for shard in range(7):
        with tarfile.open(root / f"sa_{shard:06d}.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("./"))
            for number in range(shard * 5, shard * 5 + 5):
                picture, text, _ = contents(number)
                files = [(f"./sa_{number}.png", picture), (f"./sa_{number}.json", text)]
                for name, content in files if number % 2 else files[::-1]:
                    add(tar, name, content)
            add(tar, "./README.txt", b"hello")
            add(tar, "./lonely.json", b"{}")
    return root


ALL = {f"sa_{number}" for number in range(35)}


def names(stream) -> list[str]:
    return [sample.name for sample in stream]


def test_samples_are_those_that_were_packed(folder):
    (stream,) = open_data(folder)
    assert isinstance(stream, Stream)
    seen = list(stream)
    assert {sample.name for sample in seen} == ALL
    for sample in seen:
        number = int(sample.name[3:])
        assert decode_one(sample.masks[0]).tolist() == contents(number)[2].tolist()
        assert sample.pixels()[0, 0].tolist() == [number, 2, 3]


def test_shards_of_the_webdataset_library_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "shard-000000.tar")) as out:
        for number in range(4):
            picture, text, _ = contents(number)
            out.write({"__key__": f"part/{number:04d}", "png": picture, "json": json.loads(text)})
    (stream,) = open_data(tmp_path / "shard-{000000..000000}.tar")
    assert sorted(names(stream)) == ["part/0000", "part/0001", "part/0002", "part/0003"]


@pytest.mark.parametrize("world", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("window", [0, 4, 1000])
def test_processes_share_the_samples_without_seeing_one_twice(folder, world, window):
    shards = sorted(folder.glob("*.tar"))
    parts = [names(Shards(shards, "sa", rank=rank, world=world, window=window)) for rank in range(world)]
    assert sum(len(part) for part in parts) == 35
    assert set().union(*parts) == ALL


class _Loaded(torch.utils.data.IterableDataset):
    def __init__(self, stream: Shards) -> None:
        self.stream = stream

    def __iter__(self):
        return (sample.name for sample in self.stream)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*suggested max number of worker.*")
def test_loader_workers_of_a_process_share_its_part(folder):
    shards = sorted(folder.glob("*.tar"))
    seen: list[str] = []
    for rank in range(2):
        loader = torch.utils.data.DataLoader(_Loaded(Shards(shards, "sa", rank=rank, world=2)), None, num_workers=2)
        seen += list(loader)
    assert sorted(seen) == sorted(ALL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*suggested max number of worker.*")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_after_the_batches_that_it_handed_out(folder, workers):
    def loader(stream: Shards) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(_Loaded(stream), batch_size=4, num_workers=workers)

    def some(stream: Shards, count: int) -> list:
        return [batch for batch, _ in zip(loader(stream), range(count), strict=False)]

    shards = sorted(folder.glob("*.tar"))
    # 35 samples an epoch: it goes over into the second
    whole = some(Shards(shards, "sa", epochs=None), 14)
    for batches in (12, 11):
        later = Shards(shards, "sa", epochs=None)
        later.resume(json.loads(json.dumps(later.state_after(batches, 4, workers))))
        found = some(later, 2)
        # after 11 batches it was the second worker's turn
        assert found == whole[batches : batches + 2] or (batches == 11 and workers and found == whole[12:10:-1])


def test_the_order_is_one_of_seed_and_epoch(folder):
    shards = sorted(folder.glob("*.tar"))
    first = names(Shards(shards, "sa", seed=3, epochs=2))
    assert first == names(Shards(shards, "sa", seed=3, epochs=2))
    assert first[:35] != first[35:]
    assert sorted(first[:35]) == sorted(first[35:]) == sorted(ALL)
    assert first[:35] != names(Shards(shards, "sa", seed=4))
    assert names(Shards(shards, "sa", window=0)) == [f"sa_{number}" for number in range(35)]


@pytest.mark.parametrize("given", [1, 17, 35, 36, 70])
@pytest.mark.parametrize("window", [0, 4, 1000])
def test_a_stream_goes_on_after_the_last_sample_it_gave(folder, given, window):
    shards = sorted(folder.glob("*.tar"))
    whole = names(Shards(shards, "sa", seed=1, epochs=3, window=window))
    stream = Shards(shards, "sa", seed=1, epochs=3, window=window)
    begun = iter(stream)
    before = [next(begun).name for _ in range(given)]
    state = json.loads(json.dumps(stream.state()))
    later = Shards(shards, "sa", seed=1, epochs=3, window=window)
    later.resume(state)
    assert before + names(later) == whole


def test_a_stream_that_is_through_begins_anew_unless_it_was_sent_on(folder):
    stream = Shards(sorted(folder.glob("*.tar")), "sa", seed=1)
    first = names(stream)
    assert names(stream) == first
    later = Shards(stream.shards, "sa", seed=1)
    later.resume(stream.state())
    assert names(later) == []


def test_shards_can_be_asked_by_number(folder):
    (found,) = open_data(folder, kind="shards-by-number")
    assert [found[row].name for row in range(len(found))] == [f"sa_{number}" for number in range(35)]
    assert found[-1].pixels()[0, 0].tolist() == [34, 2, 3]
    copy = pickle.loads(pickle.dumps(found))
    assert copy[3] == found[3]


def test_a_state_of_another_seed_is_refused(folder):
    stream = Shards(sorted(folder.glob("*.tar")), "sa", seed=1)
    with pytest.raises(BadSetting, match="seed 2"):
        stream.resume({"seed": 2, "epoch": 0, "given": [4]})


def test_damaged_samples_end_the_stream_or_are_passed_over_by_name(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(4):
            picture, text, _ = contents(number)
            add(tar, f"{number}.png", b"no picture" if number == 1 else picture)
            add(tar, f"{number}.json", b'{"image": 1}' if number == 2 else text)
    with pytest.raises(BadSetting, match=r"a\.tar: 2\.json"):
        names(Shards([tmp_path / "a.tar"], "a", window=0))
    stream = Shards([tmp_path / "a.tar"], "a", window=0, broken="skip")
    seen = list(stream)
    assert [sample.name for sample in seen] == ["0", "1", "3"]
    assert len(stream.problems) == 1
    with pytest.raises(BadImage, match=r"a\.tar: 1"):
        seen[1].pixels()


def test_what_is_no_tar_file_or_not_there_is_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"hello" * 1000)
    with pytest.raises(BadSetting, match=r"a\.tar is no plain tar"):
        names(open_data(tmp_path)[0])
    with pytest.raises(BadSetting, match=r"sa_01\.tar"):
        open_data(tmp_path / "sa_{01..02}.tar")
