"""Whatever is thrown at a session ends in masks or in one sentence, never in a traceback from inside torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from anymask import Masks, Session
from anymask.errors import AnymaskError
from anymask.session.embeddings import EmbeddingCache

numbers = st.one_of(
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=True),
    st.integers(-(10**30), 10**30),
    st.floats(0, 150),
    st.integers(0, 150),
)
junk = st.one_of(
    st.none(), st.text(max_size=5), st.booleans(), st.binary(max_size=5), st.dictionaries(numbers, numbers)
)
arrays = st.one_of(
    stn.arrays(np.float32, stn.array_shapes(max_dims=4, max_side=5), elements=st.floats(-200, 200, width=32)),
    stn.arrays(np.int64, stn.array_shapes(max_dims=4, max_side=5), elements=st.integers(-2, 150)),
    stn.arrays(bool, st.sampled_from([(90, 140), (1, 90, 140), (2, 90, 140), (90, 141), (0, 90), (32, 32)])),
    stn.arrays(np.float32, st.sampled_from([(32, 32), (1, 32, 32), (2, 32, 32), (0, 32, 32), (33, 32)])),
    st.just(np.array([object()])),
    st.just(np.zeros((3, 2), complex)),
    st.just(np.zeros((2, 2), "U3")),
)
pair = st.tuples(numbers, numbers).map(list)
anything = st.one_of(
    junk,
    numbers,
    arrays,
    arrays.map(lambda a: torch.from_numpy(a.copy()) if a.dtype.kind in "fib" else a),
    pair,
    st.lists(pair, max_size=4),
    st.lists(st.lists(pair, max_size=3), max_size=3),
    st.lists(numbers, min_size=4, max_size=4),
    st.lists(st.one_of(numbers, junk), max_size=5),
)


@pytest.fixture(scope="module")
def session(tiny):
    rng = np.random.default_rng(0)
    return Session(rng.integers(0, 256, (90, 140, 3)).astype(np.uint8), tiny, cache=EmbeddingCache())


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(points=anything, labels=anything, boxes=anything, mask=anything, multimask=st.sampled_from([None, True, False]))
def test_any_prompt(session, points, labels, boxes, mask, multimask):
    _answered(lambda: session.predict(points, labels, boxes, mask, multimask))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(prompt=anything, which=st.sampled_from(["points", "boxes", "mask"]))
def test_any_single_prompt(session, prompt, which):
    _answered(lambda: session.predict(**{which: prompt}))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(["click", "box", "choose", "undo"]), st.lists(anything, max_size=4)), max_size=4)
)
def test_any_sequence_of_steps(session, acts):
    session.reset()
    for name, arguments in acts:
        before = session.steps
        try:
            getattr(session, name)(*arguments)
        except AnymaskError as error:
            assert str(error) and session.steps == before
        except TypeError as error:
            # a wrong number of arguments is Python's own to refuse
            assert "positional argument" in str(error)


def _answered(call):
    try:
        masks = call()
    except AnymaskError as error:
        assert str(error).strip() and "Traceback" not in str(error)
    else:
        assert isinstance(masks, Masks) and len(masks) >= 1
