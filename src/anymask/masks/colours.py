"""Colours for masks that people with any colour vision can tell apart."""

from __future__ import annotations

import colorsys

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
