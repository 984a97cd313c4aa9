"""The part of `anymask everything` that is done by a Ray cluster: pictures and results may lie in buckets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.errors import BadImage, BadSetting

if TYPE_CHECKING:
    from anymask.cli.everything import _Question
    from anymask.cli.show import Show
    from anymask.jobs.manifest import Item


def url_of(path: Path) -> str | None:
    """The URL that a command line's path was before two of its slashes became one; None for a real path."""
    scheme, colon, rest = path.as_posix().partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if colon and len(scheme) > 1 and scheme.isalnum() else None


def many(
    question: _Question,
    images: Sequence[str],
    address: str,
    workers: int | None,
    show: Show,
    *,
    recursive: bool,
    pictures: bool,
    retry_failed: bool,
    overwrite: bool,
) -> int:
    """A job on a cluster; the exit code."""
    from anymask.jobs.ray_pipeline import run
    from anymask.jobs.settings import Shares
    from anymask.jobs.shares import divided
    from anymask.models.load import pick_device

    items, problems = found(images, recursive=recursive, out=question.out)
    show.problems.extend(map(str, problems))
    if not items:
        return 1
    card, settings = question.settings(pictures)
    device = pick_device(question.device)
    gpus = device.type == "cuda"
    # a core each: a cluster has more images than cores
    shares = Shares(1, divided(card, device, len(items), workers)[1].batch)
    # what the machines have is seen there: Ray shows each actor its own GPU
    recipe = question.recipe(settings, "cuda:0" if gpus else str(device), shares.batch, show.tree)
    url = url_of(question.out)
    with show.progress() as tell:
        report = run(
            items,
            question.out if url is None else url,
            settings,
            recipe,
            shares,
            address=address,
            workers=workers,
            gpus=gpus,
            retry_failed=retry_failed,
            overwrite=overwrite,
            tell=tell,
        )
    show.report(report, question.out, [])
    if report.stopped is not None:
        return 128 + report.stopped
    return 1 if report.failed else 0


def found(images: Sequence[str], *, recursive: bool, out: Path) -> tuple[list[Item], list[BadImage]]:
    """(pictures, problems): paths first, then those of buckets."""
    from anymask.cli.inputs import SUFFIXES, titles
    from anymask.cli.inputs import pictures as local
    from anymask.jobs import buckets
    from anymask.jobs.manifest import Item

    urls = [name for name in images if buckets.is_url(name)]
    named = [name for name in images if not buckets.is_url(name)]
    paths, problems = local(named, recursive=recursive, apart_from=out) if named else ([], [])
    remote = []
    for url in urls:
        objects = buckets.pictures(url, SUFFIXES, recursive=recursive)
        if not objects:
            problems.append(BadImage(f"{url} holds no pictures"))
        remote += objects
    remote = list(dict.fromkeys(remote))
    names = titles([*paths, *(Path("/" + url.partition("://")[2]) for url in remote)])
    items = [Item("", str(path), os.path.abspath(path)) for path in paths] + [Item("", url, url) for url in remote]
    return [replace(one, title=title) for one, title in zip(items, names, strict=True)], problems


def refuse_urls(images: Sequence[str], out: Path) -> None:
    """Raises BadSetting for buckets where there is no cluster to read and write them."""
    for name in (*images, url_of(out) or ""):
        if "://" in name:
            raise BadSetting(f"{name} is a bucket; add --ray local, or the address of a cluster")
