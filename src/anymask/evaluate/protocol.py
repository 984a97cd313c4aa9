"""What a protocol is: which photos it takes, what it measures on each, and what that comes to over a set."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np

from anymask.errors import BadSetting

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

Precision = Literal["float32", "bfloat16"]
Line = dict[str, Any]
"""What one photo gave, as JSON can hold it."""
Row = dict[str, float]
"""Measure -> value; NaN where there is none."""


@dataclass(frozen=True)
class Unit:
    """One photo's work, measured in one go.

    dataset, name: unique together. masks: true masks that take part. digest: of what is asked, so that changed data is
    noticed. read: gives what `Protocol.measure` takes.
    """

    dataset: str
    name: str
    masks: int
    digest: str
    read: Callable[[], Any] = field(repr=False, compare=False)

    def rng(self, seed: int) -> np.random.Generator:
        """Random numbers of this photo alone: the same whichever photos are measured before it, or in another run."""
        own = hashlib.sha256(f"{self.dataset}\n{self.name}".encode()).digest()[:8]
        return np.random.default_rng([seed, int.from_bytes(own, "big")])


@dataclass(frozen=True)
class Choice:
    """Which part of the data takes part. cap: see the protocol. only: names of sets, all if empty.

    kind: the layout of the data or the name of the data set, see `anymask.data.open`; recognised if None.
    """

    cap: int | None = None
    only: tuple[str, ...] = ()
    seed: int = 0
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.cap is not None and self.cap < 1:
            raise BadSetting(f"cap must be at least 1, got {self.cap}")
        if self.seed < 0:
            raise BadSetting(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True)
class Plot:
    """A picture of figures. series: name -> (x, y) values. kind: "lines", or "bars" with names as x."""

    title: str
    x: str
    y: str
    series: Mapping[str, tuple[Sequence[Any], Sequence[float]]]
    kind: Literal["lines", "bars"] = "lines"
    log_x: bool = False
    unit_y: bool = True


@dataclass(frozen=True)
class Table:
    """Titles of columns, the first that of the names; rows of (name, cells); the last `footer` rows are set apart."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    footer: int = 0


@dataclass(frozen=True)
class Outcome:
    """What the lines of a run come to. sets: set -> row. mean: over the sets. more: further figures for the JSON."""

    sets: dict[str, Row]
    mean: Row
    table: Table
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


class Protocol(ABC):
    """A way to evaluate; subclasses are frozen dataclasses whose fields are its settings.

    needs_model: whether a model is asked at all. half_by: how bfloat16 is asked for, by autocast around the
    measurement, or by the model's own way. counted: what a unit's masks and units are called.
    usual: name of the model that is measured where none is named, None for the model inside. precise: precision where
    none is asked for.
    """

    name: ClassVar[str]
    counted: ClassVar[tuple[str, str]] = ("masks", "photos")
    usual: ClassVar[str | None] = None
    precise: ClassVar[Precision] = "bfloat16"
    half_by: ClassVar[Literal["autocast", "use"]] = "autocast"

    @property
    def needs_model(self) -> bool:
        return True

    @property
    def title(self) -> str:
        """How tables name what is measured where no model is."""
        return self.name

    def rivals(self) -> list[tuple[str, Protocol]]:
        """What needs no network, measured by the same protocol: (short name, protocol)."""
        return []

    def settings(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    def for_model(self, model: PromptModel) -> Mapping[str, Any]:
        """Further settings that follow from the model, to be noted with the figures."""
        return {}

    @abstractmethod
    def units(self, data: Path, choice: Choice) -> list[Unit]:
        """The photos that take part, set by set. Raises BadSetting where there is none."""

    @abstractmethod
    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        """What one photo gives. Called within inference mode."""

    def illustrate(
        self, model: PromptModel | None, units: Sequence[Unit], lines: Sequence[Line], out: Path
    ) -> list[Path]:
        """Writes what is to be looked at beside the figures in `out`, once a run is through; the files."""
        return []

    @abstractmethod
    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        """The figures of a finished run. title: of the table, the model's name. lines: set -> lines of its photos."""


def mean_of_sets(sets: Mapping[str, Row]) -> Row:
    """The plain mean over the sets that have a value, measure by measure; NaN where none has."""
    names = next(iter(sets.values())).keys()
    known = {name: [row[name] for row in sets.values() if np.isfinite(row[name])] for name in names}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}


def by_set(
    title: str,
    sets: Mapping[str, Row],
    mean: Row,
    columns: Mapping[str, str],
    counts: Mapping[str, int],
    *,
    places: int = 3,
) -> Table:
    """The usual table: a row a set, and the mean. columns: measure -> title. counts: set -> masks."""

    def shown(row: Row) -> tuple[str, ...]:
        return tuple(decimal(row[name], places) for name in columns)

    rows = [(name, (str(counts[name]), *shown(row))) for name, row in sets.items()]
    rows.append((f"mean of {len(sets)} sets", (str(sum(counts.values())), *shown(mean))))
    return Table(title, ("set", "masks", *columns.values()), tuple(rows), footer=1)


def decimal(value: float, places: int = 3) -> str:
    """A figure for a table, empty where there is none."""
    return "" if value != value else f"{value:.{places}f}"


def settings_from(kind: type[Protocol], given: Mapping[str, Any]) -> Protocol:
    """A protocol with settings; text is turned into what the field holds: "1,3" into (1, 3), "yes" into True.

    Raises BadSetting, naming the settings that there are.
    """
    fields = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(given) - set(fields))
    if unknown:
        there = ", ".join(f"{name}={_text(one.default)}" for name, one in fields.items()) or "none"
        raise BadSetting(f"protocol {kind.name} has no setting {', '.join(unknown)}; its settings are: {there}")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(name, value, hints[name]) for name, value in given.items()})


def _text(value: Any) -> str:
    return ",".join(map(_text, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def _typed(name: str, value: Any, hint: Any) -> Any:
    if not isinstance(value, str):
        return value
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is tuple:
        return tuple(_typed(name, part.strip(), kinds[0]) for part in value.split(",") if part.strip())
    if get_origin(hint) is Literal:
        if value not in kinds:
            raise BadSetting(f"{name} is one of {', '.join(map(str, kinds))}; got {value!r}")
        return value
    if kinds:
        # X | None
        return None if value.lower() in ("", "none") else _typed(name, value, kinds[0])
    if hint is bool:
        if value.lower() not in ("yes", "no", "true", "false", "1", "0"):
            raise BadSetting(f"{name} is yes or no, got {value!r}")
        return value.lower() in ("yes", "true", "1")
    try:
        return hint(value)
    except ValueError:
        raise BadSetting(f"{name} is a number, got {value!r}") from None
