"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from anymask.errors import BadSetting


@dataclass(frozen=True)
class Phase:
    """Frames of `side` pixels with magnifications `scales`, until `until` of the cycle (0..1) is over."""

    until: float
    side: int
    scales: tuple[float, float]


PHASES = (Phase(0.6, 256, (0.8, 2.2)), Phase(0.9, 384, (0.7, 2.0)), Phase(1.0, 512, (0.7, 1.8)))


@dataclass(frozen=True)
class TrainSettings:
    """One cycle of training: a warm-up, then the rate falls along a cosine to `floor` of itself.

    hours or steps: how long the cycle is, one of them. workers: processes, one core each.
    images, masks: per step and worker; masks is even, half of them start from a box and half from a click.
    rate: of the new layers; backbone_rate: what share of it the pretrained backbone learns at.
    corrections: share of steps with 0, 1, 2, 3 correction rounds, first third of the cycle and afterwards.
    focal: weight of the focal loss at the beginning and at the end of the cycle.
    average: decay a step of the moving average that is exported. sync: steps between averagings of the workers.
    """

    hours: float | None = None
    steps: int | None = None
    workers: int = 1
    images: int = 2
    masks: int = 6
    rate: float = 1e-3
    backbone_rate: float = 0.15
    decay: float = 0.05
    clip: float = 1.0
    warmup: int = 60
    floor: float = 0.02
    phases: tuple[Phase, ...] = PHASES
    corrections: tuple[tuple[float, ...], tuple[float, ...]] = ((0.25, 0.75, 0.0, 0.0), (0.0, 0.5, 0.3, 0.2))
    focal: tuple[float, float] = (5.0, 15.0)
    average: float = 0.9995
    sync: int = 4
    pasting: float = 0.25
    seed: int = 0
    save_minutes: float = 5.0
    compiled: bool = True
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if (self.hours is None) == (self.steps is None):
            raise BadSetting("give the length of the cycle either in hours or in steps")
        if (self.hours is not None and self.hours <= 0) or (self.steps is not None and self.steps < 1):
            raise BadSetting("the cycle must be longer than nothing")
        if self.masks < 2 or self.masks % 2 or self.images < 1:
            raise BadSetting(f"masks must be even and images positive, got {self.masks} and {self.images}")
        if self.workers < 1 or self.sync < 1:
            raise BadSetting("workers and sync must be at least 1")
        if not self.phases or self.phases[-1].until < 1 or any(phase.side % 32 for phase in self.phases):
            raise BadSetting("the last phase must last until 1, and sides must be multiples of 32")

    def phase(self, progress: float) -> Phase:
        """The phase at `progress` (0..1) of the cycle."""
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])
