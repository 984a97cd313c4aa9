"""The settings of a training run, and the recipes that name sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from anymask.errors import BadSetting

Method = Literal["scratch", "full", "decoder", "lora", "memory"]
METHODS: tuple[Method, ...] = ("scratch", "full", "decoder", "lora", "memory")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Phase:
    """Frames of `side` pixels (None: the model's own) with magnifications `scales`, until `until` of the run (0..1)."""

    until: float
    side: int | None
    scales: tuple[float, float]


@dataclass(frozen=True)
class TrainSettings:
    """One run: a warm-up, then the rate falls along a cosine to `floor` of itself. Lengths are in steps, so that a run
    that was stopped, or that has more processes, is the same run.

    images: of a step, over all processes and accumulated parts together. at_once: images that a process takes through
    the network together; fewer than its share means that gradients are accumulated.
    masks: of each image; even, half of them start from a box and half from a click.
    method: "scratch" (random but for the backbone), "full", "decoder" (the image encoder stays), "lora" (decoder, and
    low-rank additions of `lora_rank` to the image encoder), "memory" (on clips; everything for pictures stays).
    anew: the memory begins anew, unless the run is given weights.
    rate: of new layers and decoder; encoder_rate: share of it for the image encoder; layer_decay: what each
    transformer block keeps of the rate of the block above it.
    rounds: shares of steps with 0, 1, 2, ... corrections, in the first third of the run and afterwards.
    idle_rounds: rounds without a new click, one among the corrections and one at the end (Segment Anything, app. A).
    box_noise: largest deviation of a box's edges in parts of its side; exact_boxes: share of boxes without any.
    focal, dice, score: weights of the losses; focal at the beginning and at the end.
    later: weight of each correction's loss. single: of the single-mask token on a lone click.
    average: decay of the moving average a step; it is what is shown and exported.
    loaders: processes that draw batches ahead, for each process of the run; if left out 4 where there is a GPU to keep
    busy, else none: on a CPU they would take the cores that compute.
    frames: of a clip, where clips are trained on; an image is then a clip, and masks are its objects.
    corrected: shares of clips with 0, 1, 2, ... frames on which what was followed is corrected by a click.
    filmed: share of clips that are filmed ones, where there are filmed ones and photos to make others of.
    presence, carried: weights of the losses of whether an object is there, and of where the memory alone sees it.
    checkpointing: recompute the image encoder's blocks in the backward pass instead of keeping what they made.
    """

    steps: int = 10_000
    images: int = 2
    at_once: int | None = None
    masks: int = 6
    method: Method = "full"
    anew: bool = False
    lora_rank: int = 8
    rate: float = 1e-3
    encoder_rate: float = 0.15
    layer_decay: float = 1.0
    decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    warmup: int = 60
    floor: float = 0.02
    drop_path: float = 0.0
    phases: tuple[Phase, ...] = (Phase(1.0, None, (0.7, 2.0)),)
    rounds: tuple[tuple[float, ...], tuple[float, ...]] = ((0.25, 0.75), (0.0, 0.5, 0.3, 0.2))
    idle_rounds: bool = False
    box_noise: float = 0.07
    exact_boxes: float = 0.4
    focal: tuple[float, float] = (5.0, 15.0)
    dice: float = 1.0
    score: float = 2.0
    later: float = 0.7
    single: float = 0.2
    pasting: float = 0.25
    average: float = 0.9995
    precision: str = "bfloat16"
    compiled: bool = False
    checkpointing: bool = False
    loaders: int | None = None
    frames: int = 8
    corrected: tuple[float, ...] = (0.6, 0.25, 0.15)
    filmed: float = 0.5
    presence: float = 0.5
    carried: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.images < 1 or (self.loaders or 0) < 0:
            raise BadSetting("steps and images must be at least 1, loaders at least 0")
        if self.masks < 2 or self.masks % 2:
            raise BadSetting(f"masks must be even, half start from a box and half from a click; got {self.masks}")
        if self.at_once is not None and self.at_once < 1:
            raise BadSetting(f"at_once must be at least 1, got {self.at_once}")
        if self.method not in METHODS:
            raise BadSetting(f"the methods are {', '.join(METHODS)}; got {self.method!r}")
        if self.precision not in PRECISIONS:
            raise BadSetting(f"the precisions are {', '.join(PRECISIONS)}; got {self.precision!r}")
        if not self.phases or self.phases[-1].until < 1 or any((phase.side or 0) % 32 for phase in self.phases):
            raise BadSetting("the last phase must last until 1, and sides must be multiples of 32")
        if any(abs(sum(shares) - 1) > 1e-6 or min(shares) < 0 for shares in (*self.rounds, self.corrected)):
            raise BadSetting("the shares of rounds, and those of corrected frames, must add up to 1")
        if not 0 <= self.filmed <= 1:
            raise BadSetting(f"filmed is a share of clips, 0 to 1, got {self.filmed}")
        if self.frames < 2:
            raise BadSetting(f"clips to learn from have at least 2 frames, got {self.frames}")
        if not 0 < self.rate < 1 or not 0 <= self.average < 1 or self.lora_rank < 1:
            raise BadSetting("rate must be between 0 and 1, average below 1, lora_rank at least 1")

    def phase(self, progress: float) -> Phase:
        """The phase at `progress` (0..1) of the run."""
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])

    def part(self, processes: int) -> tuple[int, int]:
        """(images that each process takes at once, accumulated parts) for so many processes.

        Raises BadSetting where the images of a step cannot be shared out evenly.
        """
        share, rest = divmod(self.images, processes)
        if rest or not share:
            raise BadSetting(f"{self.images} images a step cannot be shared by {processes} processes; use a multiple")
        at_once = min(self.at_once or share, share)
        if share % at_once:
            raise BadSetting(f"{share} images a process cannot be taken {at_once} at once; use a divisor")
        return at_once, share // at_once


@dataclass(frozen=True)
class Recipe:
    """A named set of settings. about: for whom, in one sentence. model: that it trains where none is named."""

    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str = "anymask-lite"


RECIPES = {
    "tune": Recipe(
        "fine-tuning on a few hundred photos: gentle rates, short",
        {"steps": 500, "images": 4, "rate": 2e-4, "encoder_rate": 0.2, "warmup": 20, "pasting": 0.0, "average": 0.99},
    ),
    "inside": Recipe(
        "the model inside, from ImageNet weights, on CPU cores",
        {
            "method": "scratch",
            "images": 4,
            "compiled": True,
            "steps": 20_000,
            "rounds": ((0.25, 0.5, 0.25), (0.0, 0.3, 0.3, 0.4)),
            "phases": (Phase(0.6, 256, (0.8, 2.2)), Phase(0.9, 384, (0.7, 2.0)), Phase(1.0, 512, (0.7, 1.8))),
        },
    ),
    "video-inside": Recipe(
        "the memory of the model inside, on made clips, on CPU cores",
        {
            "method": "memory",
            "anew": True,
            "images": 2,
            "masks": 2,
            "compiled": True,
            "steps": 20_000,
            "rate": 1e-3,
            "encoder_rate": 0.3,
            "warmup": 100,
            "average": 0.999,
            "focal": (10.0, 15.0),
            "score": 1.0,
            "phases": (Phase(0.7, 256, (1.0, 1.0)), Phase(0.95, 384, (1.0, 1.0)), Phase(1.0, 512, (1.0, 1.0))),
        },
        model="anymask-lite-video",
    ),
    "video-tune": Recipe(
        "fine-tuning the memory of the model inside on filmed clips: gentle rates, short",
        {
            "method": "memory",
            "images": 2,
            "masks": 2,
            "steps": 500,
            "rate": 2e-4,
            "warmup": 20,
            "average": 0.99,
            "focal": (15.0, 15.0),
            "score": 1.0,
            "phases": (Phase(1.0, 384, (1.0, 1.0)),),
        },
        model="anymask-lite-video",
    ),
    "sam": Recipe(
        "Segment Anything's own (section 4 and appendix A): 256 images of up to 64 masks, 11 rounds, on many GPUs",
        {
            "steps": 90_000,
            "images": 256,
            "masks": 64,
            "rate": 8e-4,
            "encoder_rate": 1.0,
            "layer_decay": 0.8,
            "drop_path": 0.4,
            "decay": 0.1,
            "betas": (0.9, 0.999),
            "warmup": 250,
            "rounds": ((0.0,) * 8 + (1.0,), (0.0,) * 8 + (1.0,)),
            "idle_rounds": True,
            "box_noise": 0.1,
            "exact_boxes": 0.0,
            "focal": (20.0, 20.0),
            "score": 1.0,
            "later": 1.0,
            "pasting": 0.0,
            "phases": (Phase(1.0, None, (0.1, 2.0)),),
            "checkpointing": True,
        },
    ),
}
"""anymask's recipes by name."""


def recipe(name: str, **changes: Any) -> TrainSettings:
    """The settings of a recipe, with changes. Raises BadSetting for names that nobody knows."""
    if name not in RECIPES:
        raise BadSetting(f"the recipes are {', '.join(RECIPES)}; got {name!r}")
    try:
        return replace(TrainSettings(**RECIPES[name].settings), **changes)
    except TypeError as error:
        raise BadSetting(f"there is no such training setting: {error}") from None
