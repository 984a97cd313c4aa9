"""One frame tracked: all objects that need it are asked together, and what is found is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from anymask.models.video import Recalled, Tracked
from anymask.pixels.image import Image
from anymask.track.answer import Answer, Entry
from anymask.track.bank import Found
from anymask.track.thing import Thing

if TYPE_CHECKING:
    from anymask.track.session import VideoSession


def track(
    session: VideoSession,
    frame: int,
    things: list[Thing],
    reverse: bool,
    image: Image | None = None,
    serial: int | None = None,
) -> None:
    """Tracks some objects on one frame and keeps what was found.

    serial: of the session's edits when it counts as tracked; by default now.
    """
    session.embedding(frame, image)
    entries: dict[int, Entry] = {}
    for at in range(0, len(things), session.settings.at_once):
        part = things[at : at + session.settings.at_once]
        entries |= _tracked(session, frame, part, reverse, session._serial if serial is None else serial)
    session._store.put(frame, entries)


def _tracked(session: VideoSession, frame: int, things: list[Thing], reverse: bool, serial: int) -> Mapping[int, Entry]:
    policy, before = session.policy, frame + (1 if reverse else -1)
    lines = [(thing, line) for thing in things for line in range(lines_of(thing, before))]
    device = next(iter(session.embedding(frame).tensors.values())).device
    recalled = [on_device(policy.recalled(thing, frame, reverse, line), device) for thing, line in lines]
    with torch.no_grad():
        tracked = session.model.track(session.embedding(frame), recalled)
    rows: list[int] = []
    candidates: list[int] = []
    owners: list[tuple[Thing, int, tuple[float, ...]]] = []
    for thing in things:
        own = [row for row, (one, _) in enumerate(lines) if one is thing]
        found = [_found(tracked, row, thing, before, lines[row][1], reverse) for row in own]
        for chosen in policy.choose(found):
            rows.append(own[chosen.line])
            candidates.append(chosen.candidate)
            owners.append((thing, chosen.line, chosen.carried))
    # remembered as the network answered; shown with its holes filled
    raw = tracked.logits[rows, candidates].float()
    answers = session.memorised(frame, session.answers(tracked, rows, candidates), prompted=False, logits=raw)
    entries: dict[int, Entry] = {}
    for thing in things:
        kept = [
            replace(answer, line=line, carried=carried)
            for answer, (owner, line, carried) in zip(answers, owners, strict=True)
            if owner is thing
        ]
        entries[thing.number] = Entry(tuple(kept), reverse, serial)
    return entries


def lines_of(thing: Thing, before: int) -> int:
    """In how many lines of memory an object arrives from the frame before."""
    if before in thing.prompted or before < 0:
        return 1
    entry = thing.store.entry(before, thing.number)
    return 1 if entry is None else len(entry.answers)


def _found(tracked: Tracked, row: int, thing: Thing, before: int, line: int, reverse: bool) -> Found:
    last: Answer | None = thing.prompted.get(before) or (thing.at(before, line) if before >= 0 else None)
    return Found(
        before + (-1 if reverse else 1),
        tracked.logits[row].float(),
        tuple(float(one) for one in tracked.scores[row]),
        float(tracked.presence[row]),
        int(tracked.best[row]),
        last,
    )


def on_device(recalled: Recalled, device: torch.device) -> Recalled:
    """What is recalled, where the network is."""
    return Recalled(
        tuple((one.to(device), slot) for one, slot in recalled.features),
        tuple((one.to(device), slot) for one, slot in recalled.pointers),
        recalled.reach,
    )
