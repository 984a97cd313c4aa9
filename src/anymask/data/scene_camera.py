"""How the pictures of generated scenes were taken: light, haze, lens, sensor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from anymask.data import scene_textures as textures


def blurred(image: Tensor, deviation: Tensor) -> Tensor:
    """Blur by rounds of 1-2-1 and wider kernels, the frame mirrored at its edges; deviation: [B] px."""
    variance = deviation**2
    step = 1
    while bool((variance > 1e-3).any()):
        # weights a, 1 - 2a, a at distance `step` have variance 2 a step^2 along each axis
        a = (variance / (2 * step * step)).clamp(max=0.25)[:, None, None, None]
        for axis in (2, 3):
            size = image.shape[axis]
            change = image * -2
            for edge in (0, size - step):
                change.narrow(axis, edge, step).add_(image.narrow(axis, edge, step).flip(axis))
            change.narrow(axis, step, size - step).add_(image.narrow(axis, 0, size - step))
            change.narrow(axis, 0, size - step).add_(image.narrow(axis, step, size - step))
            image = torch.addcmul(image, change, a)
        variance = variance - (2 * a[:, 0, 0, 0] * step * step)
        step = min(step + 1, 3)
    return image


def taken(image: Tensor, camera: Tensor) -> Tensor:
    """The picture that a camera takes: light that is uneven, haze, lens, sensor, and colour kept coarsely."""
    blur, noise, colored, uneven, at_u, at_v, pace, row, column, coarse, haze, exposure = (
        c[:, None, None] for c in camera.T
    )
    side = image.shape[-1]
    steps = torch.arange(side, device=image.device, dtype=torch.float32)
    x, y = steps[None, None, :], steps[None, :, None]
    if bool((uneven > 0).any()):
        cloud = textures.looked_up(textures.SMOOTH, (at_u + x * pace) * 24, (at_v + y * pace) * 24)
        image = image * (1 + uneven * (cloud - 0.5) * 2.5)[:, None]
    image = (image * (1 - haze[:, None]) + 0.75 * haze[:, None]) * exposure[:, None]
    image = blurred(image, blur[:, 0, 0])
    if bool((coarse > 0).any()):
        grey = image.mean(1, keepdim=True)
        color = interpolate(avg_pool2d(image - grey, 2), scale_factor=2, mode="nearest")
        image = torch.where(coarse[:, None] > 0, grey + color, image)
    if bool((noise > 0).any()):
        size = textures.FIELD
        field = textures.bank(image.device)[textures.WHITE * size * size :][: size * size].view(size, size)
        down, across = (steps.int()[None] + at[:, 0].int() for at in (row, column))

        def white(turn: int) -> Tensor:
            places = zip((down + 97 * turn) & (size - 1), (across + 61 * turn) & (size - 1), strict=True)
            return torch.stack([field.index_select(0, one).index_select(1, other) for one, other in places])

        image = image + (noise * 5)[:, None] * (white(0) - 0.5)[:, None]
        image += (noise * 5 * colored)[:, None] * (torch.stack([white(i) for i in (1, 2, 3)], 1) - 0.5)
    return image
