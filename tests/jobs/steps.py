"""Work for jobs that needs no model: each picture is answered with rectangles that depend on its pixels alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

import numpy as np

from anymask.errors import BadImage
from anymask.jobs.manifest import Item
from anymask.jobs.work import Answer


@dataclass(frozen=True)
class Light:
    """A recipe. form: format to write. pause: seconds that a picture takes. extra: bytes of a further file."""

    form: str = "coco"
    pause: float = 0.0
    extra: int = 0

    def __call__(self):
        from anymask.masks.masks import Masks
        from anymask.pixels.image import Image
        from anymask.records.formats import format_named
        from anymask.records.record import ImageRef, Provenance, Record

        form = format_named(self.form)

        def step(item: Item) -> Answer:
            name = os.path.basename(item.source)
            if name.startswith("deadly"):
                os.kill(os.getpid(), signal.SIGKILL)
            if name.startswith("odd"):
                raise ZeroDivisionError("odd")
            image = Image.open(item.at)
            time.sleep(self.pause)
            seed = int(image.digest[:8], 16)
            rng = np.random.default_rng(seed)
            dense = np.zeros((3, *image.size), bool)
            for mask in dense:
                y, x = rng.integers(0, image.size[0] - 4), rng.integers(0, image.size[1] - 4)
                mask[y : y + 4, x : x + 4] = True
            masks = Masks.from_dense(dense)
            reference = ImageRef(item.source, image.size, image.digest)
            files = dict(form.files(Record(reference, masks, Provenance(time="")), item.title))
            if self.extra:
                files[f"{item.title}.more/bytes"] = rng.bytes(self.extra)
            return Answer(files, {"masks": 3}, {"seconds": self.pause})

        return step


@dataclass(frozen=True)
class Broken:
    """A recipe whose step cannot be made. how: "raise" an error of ours, or "die"."""

    how: str

    def __call__(self):
        if self.how == "die":
            os._exit(7)
        raise BadImage("no step today")


def job(pictures, out, **how):
    """Runs a job of light work; (report, entries told)."""
    from anymask.jobs.folder import run
    from anymask.jobs.settings import JobSettings, Shares

    recipe = how.pop("recipe", None) or Light()
    items = [Item(path.stem, path.name, str(path)) for path in pictures]
    settings = how.pop("settings", None) or JobSettings(format=getattr(recipe, "form", "coco"))
    told = []
    options = {"workers": 2, "tell": lambda settled, *counts: told.append((settled.entry, *counts)), **how}
    return run(items, out, settings, lambda number, shares: recipe, Shares(1, 8), **options), told


def main():
    """`python steps.py PICTURES OUT PAUSE WORKERS`: the same in a process of its own, to be killed."""
    from pathlib import Path

    folder, out, pause, workers = sys.argv[1:]
    report, _ = job(
        sorted(Path(folder).iterdir()), out, recipe=Light(pause=float(pause), extra=200_000), workers=int(workers)
    )
    sys.exit(3 if report.stopped else 0)


if __name__ == "__main__":
    main()
