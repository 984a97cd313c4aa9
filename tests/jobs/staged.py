"""Light work in two stages, as a pipeline wants it, and a driver to be killed: `python staged.py PICTURES OUT TEMP`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from steps import Light

from anymask.errors import BadImage
from anymask.jobs.manifest import Item
from anymask.jobs.settings import JobSettings, Shares
from anymask.jobs.work import Answer


@dataclass(frozen=True)
class Staged(Light):
    """`Light`, that looks at the picture in the first stage already. The costs tell which processes did it."""

    def first(self):
        from anymask.pixels.image import Image

        def look(item: Item, content: bytes | None):
            if os.path.basename(item.source).startswith("deadly"):
                os._exit(9)
            return {"digest": Image.open(item.at if content is None else content).digest, "pid": os.getpid()}

        return look

    def second(self):
        step = self()

        def draw(item: Item, content: bytes | None, given) -> Answer:
            at = item.at
            if content is not None:
                at = f"/tmp/anymask-staged-{os.getpid()}"
                Path(at).write_bytes(content)
            answer = step(Item(item.title, item.source, at))
            if len(given["digest"]) != 64:
                raise BadImage("nothing was handed over")
            return Answer(answer.files, answer.facts, {"first": given["pid"], "second": os.getpid()})

        return draw


def ray_options(temp: Path | str) -> dict:
    """A small Ray."""
    return {"num_cpus": 2, "object_store_memory": 200 << 20, "include_dashboard": False, "_temp_dir": str(temp)}


def job(items, out, **how):
    """A Ray run of light work; (report, settled)."""
    from anymask.jobs.ray_pipeline import run

    recipe = how.pop("recipe", None) or Staged()
    told = []
    tell = how.pop("tell", lambda settled: None)

    def note(settled, done, total):
        told.append(settled)
        tell(settled)

    settings = JobSettings(format=recipe.form)
    return run(items, out, settings, recipe, Shares(1, 8), tell=note, **how), told


def items_of(pictures) -> list[Item]:
    """As `steps.job` makes them."""
    return [Item(path.stem, path.name, str(path)) for path in pictures]


def main() -> None:
    folder, out, temp = sys.argv[1:]
    begun = time.monotonic()
    job(items_of(sorted(Path(folder).iterdir())), out, recipe=Staged(pause=0.3), ray_options=ray_options(temp))
    print(time.monotonic() - begun)


if __name__ == "__main__":
    main()
