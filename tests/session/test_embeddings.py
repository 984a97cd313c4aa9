"""An embedding is made once, kept within bounds, and never taken for another image's or model's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymask import Image, Session
from anymask.errors import EmbeddingMismatch
from anymask.family.sam import tiny as build
from anymask.models.catalogue import card
from anymask.session import embeddings
from anymask.session.embeddings import EmbeddingCache


def _count(model, monkeypatch):
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda images: calls.append(len(images)) or encode(images))
    return calls


def test_an_image_is_encoded_once(photo, tiny, monkeypatch):
    calls = _count(tiny, monkeypatch)
    cache = EmbeddingCache()
    for _ in range(3):
        Session(photo.copy(), tiny, cache=cache)
    assert calls == [1]


def test_a_batch_encodes_only_what_is_new(photo, tiny, monkeypatch):
    calls = _count(tiny, monkeypatch)
    cache = EmbeddingCache()
    Session(photo, tiny, cache=cache)
    Session.batch([photo, photo[::-1], photo[:, ::-1]], tiny, cache=cache)
    assert calls == [1, 2]


def test_memory_stays_within_its_limit(photo, tiny):
    one = Session(photo, tiny, cache=EmbeddingCache()).embedding.nbytes
    cache = EmbeddingCache(max_bytes=3 * one)
    for shift in range(6):
        Session(np.roll(photo, shift, axis=1), tiny, cache=cache)
    assert len(cache) == 3 and cache.nbytes <= 3 * one


def test_a_folder_keeps_embeddings_for_the_next_process(photo, tiny, tmp_path, monkeypatch):
    first = Session(photo, tiny, cache=tmp_path).predict(points=[70, 45])
    calls = _count(tiny, monkeypatch)
    second = Session(photo, tiny, cache=tmp_path).predict(points=[70, 45])
    assert calls == []
    np.testing.assert_array_equal(first.logits, second.logits)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_file_of_another_image_or_model_is_refused(photo, tiny, tmp_path):
    image, path = Image.open(photo), tmp_path / "embedding.safetensors"
    embeddings.save(path, Session(photo, tiny).embedding, image, tiny)
    assert embeddings.read(path, image, tiny).resize == Session(photo, tiny).embedding.resize
    with pytest.raises(EmbeddingMismatch, match="another image"):
        embeddings.read(path, Image.open(photo[::-1]), tiny)
    other = build()
    other.card = card("sam-tiny-test")
    with pytest.raises(EmbeddingMismatch, match="another weights"):
        embeddings.read(path, image, other)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_file_is_refused(photo, tiny, tmp_path, content):
    path = tmp_path / "embedding.safetensors"
    path.write_bytes(content)
    with pytest.raises(EmbeddingMismatch, match="not an embedding"):
        embeddings.read(path, Image.open(photo), tiny)


def test_changed_weights_make_old_embeddings_stale(photo):
    model = build()
    model.card = card("sam-tiny-test")
    session = Session(photo, model)
    session.predict(points=[70, 45])
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.add_(1)
    with pytest.raises(EmbeddingMismatch, match="encode the image again"):
        session.predict(points=[70, 45])


def test_two_random_models_do_not_share_embeddings():
    assert build().weights != build().weights
