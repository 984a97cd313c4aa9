"""What a job is: settings that decide its results, kept as JSON beside them; a run goes on only with its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from anymask.errors import BadSetting
from anymask.jobs.places import Place

FILE = "anymask-job.json"
FORMAT = "anymask-job-1"


@dataclass(frozen=True)
class JobSettings:
    """Everything that the bytes of a job's results depend on, besides the images.

    work: what is done with each image, "everything". format: as `records.formats` names it. model: a card's name.
    weights: digest. preset: which options they started from. options: all options of everything mode, resolved.
    tile, overlap: side and overlap of tiles in px, None for the automatic ones; bands: of TIFF files.
    pictures: whether an overlay is drawn of each image.
    """

    format: str
    model: str = ""
    weights: str = ""
    work: str = "everything"
    preset: str = "default"
    options: Mapping[str, Any] = field(default_factory=dict)
    tile: int | None = None
    overlap: int | None = None
    bands: tuple[int, ...] | None = None
    pictures: bool = False


@dataclass(frozen=True)
class Shares:
    """What results do not depend on by intention, but might by rounding; an interrupted run goes on with its first.

    threads: of each worker. batch: prompts decoded at once.
    """

    threads: int
    batch: int


def read(place: Place) -> tuple[JobSettings, Shares] | None:
    """The job that a place holds, None for a new place. Raises BadSetting for a damaged file."""
    try:
        text = place.read(FILE)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise ValueError(found["format"])
        # another version may note more or less; what is known here is kept
        settings = {
            one.name: found["settings"][one.name] for one in fields(JobSettings) if one.name in found["settings"]
        }
        settings["bands"] = None if settings.get("bands") is None else tuple(settings["bands"])
        return JobSettings(**settings), Shares(**{one.name: int(found["shares"][one.name]) for one in fields(Shares)})
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(
            f"{place}/{FILE} cannot be read ({type(error).__name__} {error}); take another -o, or --overwrite"
        ) from None


def write(place: Place, settings: JobSettings, shares: Shares, version: str) -> None:
    """Notes the job. version: of anymask, for people; results are not refused for it."""
    job = {"format": FORMAT, "anymask": version, "settings": asdict(settings), "shares": asdict(shares)}
    place.write(FILE, (json.dumps(job, indent=2) + "\n").encode("ascii"))


def difference(before: JobSettings, now: JobSettings) -> str:
    """What differs, as part of a sentence: "points_per_side was 32 and is 16 now"; "" when nothing does."""
    parts = []
    for one in fields(JobSettings):
        old, new = getattr(before, one.name), getattr(now, one.name)
        if one.name == "options":
            # a preset is no more than its options
            parts += [
                _was(name, old.get(name), new.get(name))
                for name in dict.fromkeys([*old, *new])
                if json.dumps(old.get(name)) != json.dumps(new.get(name))
            ]
        elif old != new and one.name != "preset":
            parts.append("the weights are others" if one.name == "weights" else _was(one.name, old, new))
    return ", ".join(parts)


def _was(name: str, old: object, new: object) -> str:
    return f"{name} was {_short(old)} and is {_short(new)} now"


def _short(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
