"""The official packages, as peers; what is not installed here is skipped with the command that installs it."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
HOW = "pip install --no-deps -r tests/peers.txt"


def _import(name: str) -> ModuleType:
    with warnings.catch_warnings():
        # the peers register the same names twice and use what timm and torch have deprecated
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def peer() -> Callable[[str], ModuleType]:
    """Imports an official package, or skips the test."""

    def get(name: str) -> ModuleType:
        try:
            import torchvision_shim

            torchvision_shim.install()
            return _import(name)
        except ImportError as error:
            pytest.skip(f"the peer {name} is not usable here ({error}); {HOW}")

    return get


def fill_with_noise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Noise in every parameter and statistic, so that no table that starts at zero hides an error.

    Scaled by fan-in, so that activations keep a size of about one through the depth of the network.
    """
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim == 1 and name.endswith("weight"):
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim > 1 and name.endswith("weight"):
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.2 * noise)
    # some peers compute tables from parameters when they change mode, and keep them
    return module.train().eval()


@pytest.fixture(scope="session")
def noisy() -> Callable[[nn.Module], nn.Module]:
    return fill_with_noise
