"""How a run's parameters lie on its processes: whole on each (DDP), or a shard on each (FSDP2).

The loop is the same for both. Names are those of the task's parameters, as `named_parameters` gives them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anymask.errors import BadSetting
from anymask.train.start import blocks_of

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARDS = "shards"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, beside its step."""
Make = Callable[[Sequence[dict[str, Any]]], torch.optim.Optimizer]
"""Groups of parameters to their optimiser."""


class Spread(Protocol):
    """What the loop asks of either way. Every method is called by all processes at the same time."""

    sharded: bool

    def prepare(self, task: nn.Module, groups: Sequence[dict[str, Any]], make: Make) -> tuple[nn.Module, Any]:
        """The task and its optimiser, on the processes' devices; parameters may be other objects afterwards."""

    def part(self, task: nn.Module) -> AbstractContextManager[Any]:
        """Around a part of a step that is not the last."""

    def save(self, folder: Path) -> None:
        """Write parameters and optimiser."""

    def load(self, folder: Path) -> None:
        """Take up what `save` wrote."""

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors like the parameters, complete and on the CPU; of use on the main process only."""

    def fill(self, tensors: Mapping[str, Tensor], file: Path) -> None:
        """Set tensors like the parameters to what a safetensors file holds of them."""

    def changed(self) -> None:
        """Parameters were changed outside of a step."""


class Copies(Spread):
    """All parameters on every process; accelerate wraps (DDP, scaled gradients) and saves."""

    sharded = False

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator

    def prepare(self, task: nn.Module, groups: Sequence[dict[str, Any]], make: Make) -> tuple[nn.Module, Any]:
        wrapped, optimiser = self.accelerator.prepare(task.to(self.accelerator.device), make(groups))
        return wrapped, optimiser

    def part(self, task: nn.Module) -> AbstractContextManager[Any]:
        return self.accelerator.no_sync(task)

    def save(self, folder: Path) -> None:
        self.accelerator.save_state(str(folder))

    def load(self, folder: Path) -> None:
        self.accelerator.load_state(str(folder))

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def fill(self, tensors: Mapping[str, Tensor], file: Path) -> None:
        for name, tensor in load_file(file).items():
            tensors[name].copy_(tensor)

    def changed(self) -> None:
        pass


class Shards(Spread):
    """Of every trained parameter, its moments and its average, each process of a machine keeps a part.

    The image encoder's blocks are gathered one after the other, when they are needed. The rest is gathered once a
    step: the decoder has 4 of ViT-H's 641 million parameters and is asked dozens of times. Machines hold copies of each
    other, so only gradients travel between them. What is not trained stays whole.

    Source: Zhao et al., "PyTorch FSDP" (arXiv 2304.11277), section 3.2.2 for the copies; `torch.distributed.fsdp`.
    """

    sharded = True

    def __init__(self, accelerator: Accelerator) -> None:
        if accelerator.num_processes == 1:
            raise BadSetting("sharding needs several processes; start more, or leave out --sharded")
        if accelerator.scaler is not None:
            raise BadSetting("sharding does not scale gradients as float16 needs it; use bfloat16 or float32")
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 7):
            raise BadSetting(f"sharding needs torch 2.7 or later, this is {torch.__version__}")
        from torch.distributed.device_mesh import init_device_mesh

        self.device = accelerator.device
        count, here = accelerator.num_processes, int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        shape, names = ((count // here, here), ("machines", "shards")) if here < count else ((count,), ("shards",))
        self.mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=names)
        self.main = accelerator.is_main_process

    def prepare(self, task: nn.Module, groups: Sequence[dict[str, Any]], make: Make) -> tuple[nn.Module, Any]:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        names = {id(parameter): name for name, parameter in task.named_parameters()}
        frozen = {parameter for parameter in task.parameters() if not parameter.requires_grad}
        for parameter in task.parameters():
            # a shard has no room for channels that lie innermost
            parameter.data = parameter.data.contiguous()
            if parameter in frozen:
                parameter.data = parameter.data.to(self.device)
        for block in blocks_of(task):
            if any(parameter.requires_grad for parameter in block.parameters()):
                fully_shard(block, mesh=self.mesh, ignored_params=frozen)
        fully_shard(task, mesh=self.mesh, ignored_params=frozen)
        if hasattr(task, "answered"):
            register_fsdp_forward_method(task, "answered")
        now = dict(task.named_parameters())
        moved = [group | {"params": [now[names[id(old)]] for old in group["params"]]} for group in groups]
        self.task, self.optimiser = task, make(moved)
        self.named = {name: parameter for name, parameter in now.items() if parameter.requires_grad}
        return task, self.optimiser

    def part(self, task: nn.Module) -> AbstractContextManager[Any]:
        # gradients are averaged after each part: kept until the last one, they would be kept whole
        return nullcontext()

    def save(self, folder: Path) -> None:
        from torch.distributed.checkpoint.state_dict_saver import save

        save(self._state(), checkpoint_id=folder / SHARDS)

    def load(self, folder: Path) -> None:
        from torch.distributed.checkpoint.filesystem import FileSystemReader
        from torch.distributed.checkpoint.state_dict_loader import load

        reader = FileSystemReader(folder / SHARDS)
        known = reader.read_metadata().state_dict_metadata
        for name, parameter in self.named.items():
            # what no gradient has reached yet has no moments
            if f"step.{name}" in known:
                kept: dict[str, Tensor] = {entry: torch.zeros_like(parameter) for entry in MOMENTS}
                self.optimiser.state[parameter] = kept | {"step": torch.zeros((), device=self.device)}
        load(self._state(), storage_reader=reader)

    def _state(self) -> dict[str, Any]:
        """Parameters, buffers and moments by name, as the processes hold them."""
        state = {f"model.{name}": tensor for name, tensor in self.task.state_dict().items()}
        for name, parameter in self.named.items():
            state |= {f"{entry}.{name}": value for entry, value in self.optimiser.state.get(parameter, {}).items()}
        return state

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, tensor in tensors.items():
            full = complete(tensor)
            if self.main:
                found[name] = full.cpu()
        return found

    def fill(self, tensors: Mapping[str, Tensor], file: Path) -> None:
        from torch.distributed.tensor import DTensor, distribute_tensor

        for name, tensor in load_file(file).items():
            into = tensors[name]
            assert isinstance(into, DTensor)
            # every process reads the file, so nothing has to be sent
            into.copy_(distribute_tensor(tensor, into.device_mesh, into.placements, src_data_rank=None))

    def changed(self) -> None:
        from torch.distributed.fsdp import FSDPModule

        for module in self.task.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def complete(tensor: Tensor) -> Tensor:
    """A tensor with all its shards, on every process."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def asked_by_launcher() -> bool:
    """Whether `accelerate launch --use_fsdp` started this process.

    Its own wrapping would not know the moving average, nor what is kept whole, so it is told to leave that to us.
    """
    return os.environ.pop("ACCELERATE_USE_FSDP", "false").lower() == "true"
