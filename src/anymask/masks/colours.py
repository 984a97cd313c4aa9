"""Colours for masks that people with any colour vision can tell apart."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]

PALETTE: tuple[RGB, ...] = (
    (48, 158, 242),  # azure
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermillion
)
"""The palette of Okabe and Ito (Color Universal Design, 2008) without black, most distinct on photos first.

Its sky blue is a little stronger here: on skin and snow the original pales under a translucent fill."""


def colour(index: int) -> RGB:
    """The colour of the object with that number; after a round of the palette, lighter and darker rounds follow."""
    turn, place = divmod(index, len(PALETTE))
    if turn == 0:
        return PALETTE[place]
    red, green, blue = (value / 255 for value in PALETTE[place])
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    # rounds alternate between light and dark, since lightness is what every kind of colour vision keeps
    light = (light + 1) / 2 if turn % 2 else light * 0.6
    hue = (hue + 0.04 * (turn // 2)) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
    return (round(red * 255), round(green * 255), round(blue * 255))


def palette(count: int) -> list[RGB]:
    """The colours of the first `count` objects."""
    return [colour(index) for index in range(count)]


_LIMITED = (
    # protanopia, deuteranopia, tritanopia; linear RGB to linear RGB
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)
"""What the three kinds of reduced colour vision see. Source: Machado, Oliveira and Fernandes, "A Physiologically-based
Model for Simulation of Color Vision Deficiency" (2009), severity 1."""


def seen(colours: Sequence[RGB]) -> NDArray[np.float64]:
    """Colours in CIE Lab (D65) as four kinds of colour vision see them, normal first: [4, N, 3]."""
    srgb = np.asarray(colours, np.float64).reshape(-1, 3) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    ways = np.stack([np.eye(3), *map(np.array, _LIMITED)])
    light = np.clip(np.einsum("vij,nj->vni", ways, linear), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = light @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def distances(colours: Sequence[RGB]) -> NDArray[np.float64]:
    """How far apart colours are for the kind of vision that finds it hardest: CIE 1976 difference, [N, N]."""
    lab = seen(colours)
    return np.linalg.norm(lab[:, :, None] - lab[:, None], axis=-1).min(0)
