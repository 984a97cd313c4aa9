"""Whatever is given for a prompt is answered, or refused in a sentence: as Prompts, in a session, by official names."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from endings import ends_well, hostile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from anymask import Masks, Prompts, Session
from anymask.compat.segment_anything import SamPredictor
from anymask.session.embeddings import EmbeddingCache

SIZE = (90, 140)

numbers = st.one_of(
    st.floats(0, 90),
    st.integers(0, 90),
    st.floats(),
    st.integers(),
    st.sampled_from([float("nan"), float("inf"), -1, 1e38, 1e39, 2**63, 10**400, np.float16(3), np.int8(-1), True]),
)
junk = st.one_of(
    st.none(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.sampled_from([object(), type, {}, {"x": 1}, set(), 1j, Ellipsis, np.datetime64("2020"), len, range(4), "1,2"]),
)
nested: st.SearchStrategy[Any] = st.recursive(
    st.one_of(numbers, numbers, junk), lambda inner: st.lists(inner, max_size=4), max_leaves=10
)
any_array = stn.arrays(
    st.one_of(
        stn.floating_dtypes(),
        stn.integer_dtypes(),
        stn.boolean_dtypes(),
        stn.unsigned_integer_dtypes(),
        stn.complex_number_dtypes(),
        stn.unicode_string_dtypes(max_len=2),
        stn.datetime64_dtypes(),
    ),
    stn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
tensors = st.builds(
    lambda shape, dtype, place: torch.empty(shape, dtype=dtype, device=place).fill_(1),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(
        [torch.float32, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64, torch.uint8]
    ),
    st.sampled_from(["cpu", "cpu", "meta"]),
)
huge = st.sampled_from(
    [
        np.broadcast_to(np.float32(1), (10**6, 10**5, 2)),
        np.broadcast_to(np.float32(1), (10**9, 4)),
        np.broadcast_to(np.bool_(1), (10**7, *SIZE)),
        torch.ones(()).expand(10**6, 10**5, 2),
        [[1.0, 2.0]] * 20_000,
        [[[1.0, 2.0]]] * 100_001,
    ]
)
LOGITS = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
masks = st.one_of(
    st.sampled_from(
        [
            LOGITS,
            LOGITS[0],
            LOGITS[:, None],
            LOGITS.astype(np.float64),
            LOGITS * np.nan,
            LOGITS[:, :5],
            LOGITS.astype(str),
        ]
    ),
    stn.arrays(
        st.sampled_from([bool, np.uint8, np.int64, np.int8]),
        st.sampled_from([SIZE, (1, *SIZE), (2, *SIZE), SIZE[::-1]]),
    ),
    stn.arrays(st.sampled_from([bool, np.uint8]), st.just(SIZE), elements=st.just(1)),
)
anything = st.one_of(nested, any_array, tensors, junk, numbers, masks)

VALID: list[dict[str, Any]] = [
    {"points": [70, 45]},
    {"points": [[70, 45], [5, 5]], "labels": [1, 0]},
    {"points": [[[70, 45]], [[10, 10], [20, 20]]], "labels": [[1], [1, 0]]},
    {"boxes": [30, 20, 100, 70]},
    {"boxes": [[30, 20, 100, 70], [1, 1, 9, 9]], "points": [[[70, 45]], [[5, 5]]]},
    {"mask": LOGITS[0]},
    {"mask": LOGITS, "boxes": [[0, 0, 9, 9]] * 3},
    {"points": [70, 45], "mask": np.ones(SIZE, bool)},
]


@st.composite
def nearly_valid(draw) -> dict[str, Any]:
    """A good prompt in which up to two places were replaced, doubled or taken away."""
    prompt = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from(["points", "labels", "boxes", "mask"]))
        value = prompt.get(key)
        if not isinstance(value, list) or draw(st.integers(0, 4)) == 0:
            prompt[key] = draw(st.one_of(anything, huge))
            continue
        inner = value
        while inner and isinstance(inner[0], list) and draw(st.booleans()):
            inner = draw(st.sampled_from([part for part in inner if isinstance(part, list)]))
        what = draw(st.sampled_from(["replace", "drop", "double", "array"]))
        if what == "array":
            prompt[key] = np.array(value, dtype=object) if draw(st.booleans()) else tuple(value)
        elif not inner or what == "double":
            inner.append(draw(st.one_of(numbers, nested)))
        elif what == "drop":
            inner.pop(draw(st.integers(0, len(inner) - 1)))
        else:
            inner[draw(st.integers(0, len(inner) - 1))] = draw(st.one_of(numbers, junk, nested))
    return prompt


@hostile(500)
@given(prompt=nearly_valid(), size=st.sampled_from([None, SIZE]))
def test_prompts_that_are_nearly_good(prompt, size):
    made = ends_well(lambda: Prompts.of(**prompt, size=size))
    assert made is None or len(made) >= 1


@hostile(250)
@given(points=anything, labels=anything, boxes=anything, mask=anything)
def test_prompts_of_anything(points, labels, boxes, mask):
    ends_well(lambda: Prompts.of(points, labels, boxes, mask, size=SIZE))


@pytest.fixture(scope="module")
def session(tiny):
    return Session(np.zeros((*SIZE, 3), np.uint8), tiny, cache=EmbeddingCache())


multimasks = st.sampled_from([None, True, False])


@hostile(250)
@given(prompt=nearly_valid(), multimask=multimasks)
def test_a_session_asked_nearly_good_things(session, prompt, multimask):
    # objects are limited by what a person would wait for, not by an error
    few = {key: value for key, value in prompt.items() if not isinstance(value, list) or len(value) < 100}
    answer = ends_well(lambda: session.predict(**few, multimask=multimask))
    if answer is not None:
        assert isinstance(answer, Masks) and len(answer) >= 1 and answer.size == SIZE
        assert np.isfinite(answer.scores).all() and np.isfinite(answer.logits).all()


@pytest.fixture(scope="module")
def predictor(tiny):
    found = SamPredictor(tiny)
    found.set_image(np.zeros((*SIZE, 3), np.uint8))
    return found


def answered(answer: Any) -> None:
    if answer is not None:
        masks, scores, logits = answer
        assert masks.shape[-2:] == SIZE and masks.shape[:-2] == scores.shape == logits.shape[:-2]
        assert bool(torch.isfinite(torch.as_tensor(logits)).all())


boxes4 = st.one_of(st.lists(numbers, min_size=4, max_size=4), st.just([30, 20, 100, 70]), anything)


@hostile(250)
@given(
    points=st.sampled_from([None, [[70, 45]], [[70, 45], [-5, 500.5]]])
    | st.lists(st.lists(numbers, max_size=3), max_size=3)
    | anything,
    labels=st.sampled_from([None, [1], [0], [1, 0], [2, -1], [True, 9]]) | anything,
    box=st.none() | st.none() | boxes4,
    mask=st.none() | st.none() | st.just(LOGITS[:1]) | masks | anything,
    multimask=multimasks,
    raw=st.booleans(),
)
def test_the_official_predictor_asked_anything(predictor, points, labels, box, mask, multimask, raw):
    answered(ends_well(lambda: predictor.predict(points, labels, box, mask, multimask, raw)))


shapes = st.lists(st.integers(0, 4), max_size=4)
floats = st.builds(
    lambda shape, value, dtype: torch.full(shape, value).to(dtype),
    st.one_of(
        st.sampled_from([[1, 1, 2], [2, 3, 2], [3, 4], [2, 4], [1, 1], [2, 3], [3, 1, 32, 32], [1, 1, 32, 32]]), shapes
    ),
    st.one_of(st.floats(0, 128), st.floats(width=32), st.just(1.0)),
    st.sampled_from(
        [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool, torch.uint8, torch.complex64]
    ),
)
parts = st.one_of(st.none(), floats, floats, tensors, junk)


def good(*shape: int) -> st.SearchStrategy[Any]:
    """Nothing, or 1 to 2 prompts of one shape, sometimes of another type."""
    dtypes = st.sampled_from([torch.float32, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
    return st.none() | st.builds(lambda count, dtype: torch.ones(count, *shape).to(dtype), st.integers(1, 2), dtypes)


@hostile(250)
@given(
    points=good(2, 2) | good(2, 2) | parts,
    labels=good(2) | good(2) | parts,
    boxes=good(4) | good(4) | parts,
    mask=good(1, 32, 32) | parts,
    multimask=multimasks,
)
def test_the_official_predictor_asked_with_any_tensors(predictor, points, labels, boxes, mask, multimask):
    answered(ends_well(lambda: predictor.predict_torch(points, labels, boxes, mask, multimask)))


records = st.fixed_dictionaries(
    {"image": st.just(torch.zeros(3, 82, 128)), "original_size": st.just(SIZE)},
    optional={"boxes": good(4), "mask_inputs": good(1, 32, 32), "point_coords": good(2, 2), "point_labels": good(2)},
) | st.fixed_dictionaries(
    {},
    optional={
        "image": st.one_of(
            st.builds(lambda h, w: torch.zeros(3, h, w), st.integers(0, 140), st.integers(0, 140)), floats, junk
        ),
        "original_size": st.one_of(st.just(SIZE), st.tuples(numbers, numbers), junk),
        "point_coords": parts,
        "point_labels": parts,
        "boxes": parts,
        "mask_inputs": parts,
        "nonsense": junk,
    },
)


@hostile(200)
@given(batch=st.one_of(st.lists(st.one_of(records, records, junk), max_size=2), junk), multimask=multimasks)
def test_the_official_module_given_any_batch(predictor, batch, multimask):
    ends_well(lambda: predictor.model(batch, multimask))


@hostile(150)
@given(
    image=st.one_of(
        st.builds(lambda b, h, w: torch.zeros(b, 3, h, w), st.integers(0, 2), st.integers(0, 128), st.just(128)),
        tensors,
        junk,
    ),
    size=st.one_of(st.just(SIZE), st.tuples(numbers, numbers), junk),
)
def test_any_image_that_is_said_to_be_transformed(tiny, image, size):
    ends_well(lambda: SamPredictor(tiny).set_torch_image(image, size))
