"""Plain attention of one head over many keys, in pieces that stay in the cache, with the fastest products there are.

Exact up to the order of sums: the softmax is taken over one piece of the keys at a time, and the pieces are weighed by
their shares of the whole, which the largest weight of each tells (it is one over the sum of the piece).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from anymask.nn.cpu import linear, packed

QUERIES = 512
"""Queries at a time,"""
KEYS = 2048
"""and keys: 512 x 2048 floats are 4 MB."""


class Attended:
    """Keys and values made ready for any number of queries.

    keys: [M, D] in pieces of `KEYS` rows, which may be made one after the other. values: [M, E].
    """

    def __init__(self, keys: Iterable[Tensor], values: Tensor) -> None:
        self.keys = [packed(part.contiguous(), QUERIES) for part in keys]
        self.values = [packed(part.t().contiguous(), QUERIES) for part in values.split(KEYS)]
        self.sizes = [len(part) for part in values.split(KEYS)]
        self.width = values.shape[1]
        self.scores, self.weights = torch.empty(QUERIES * KEYS), torch.empty(QUERIES * KEYS)

    def read(self, queries: Tensor) -> Tensor:
        """What queries [N, D], already scaled, read: [N, E]."""
        out = torch.empty(len(queries), self.width)
        for rows, part in zip(out.split(QUERIES), queries.split(QUERIES), strict=True):
            rows.copy_(self._read(part.contiguous()))
        return out

    def _read(self, queries: Tensor) -> Tensor:
        count = len(queries)
        total: Tensor | None = None
        for keys, values, size in zip(self.keys, self.values, self.sizes, strict=True):
            weights = self.weights[: count * size].view(count, size)
            scores = linear(queries, keys)
            torch.softmax(scores, -1, out=weights)
            found = linear(weights, values)
            if len(self.keys) == 1:
                return found
            # the logarithm of the sum of exponentials of this piece
            mass = scores.amax(1) - weights.amax(1).log()
            if total is None:
                total, read = mass, found
                continue
            share = torch.sigmoid(mass - total)[:, None]
            read.lerp_(found, share)
            total = torch.logaddexp(total, mass)
        return read
