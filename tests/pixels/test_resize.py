"""The map between an image and a model's frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.errors import BadSetting
from anymask.pixels.resize import Resize


@pytest.mark.parametrize(
    ("size", "resized"),
    [((1000, 1500), (683, 1024)), ((37, 51), (743, 1024)), ((3000, 4000), (768, 1024)), ((1024, 1024), (1024, 1024))],
)
def test_the_longest_side_is_scaled_and_the_other_rounded_half_up(size, resized):
    assert Resize.fit(size, 1024).resized == resized
    assert Resize.fit(size[::-1], 1024).resized == resized[::-1]


def test_a_line_of_pixels_keeps_one_pixel():
    assert Resize.fit((1, 5000), 1024).resized == (1, 1024)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_an_image_without_pixels_is_refused(size):
    with pytest.raises(BadSetting, match="at least one pixel"):
        Resize.fit(size, 1024)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["long-side", "square"]))
def test_the_corners_of_the_image_are_the_corners_of_its_frame(height, width, fit):
    resize = Resize.fit((height, width), 256, fit)
    corners = resize.points(np.array([[0, 0], [width, height]], float))
    np.testing.assert_allclose(corners, [[0, 0], resize.resized[::-1]], rtol=1e-6)
    np.testing.assert_allclose(resize.boxes(np.array([[0, 0, width, height]]))[0], corners.reshape(-1))
    assert max(resize.resized) == 256 and min(resize.resized) >= 1
