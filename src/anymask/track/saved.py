"""A session's state on disk: what was said, and which answers belong to it; frames have files of their own.

The state names the files of answers that people pointed at; those are written before it, under names that no other
state uses, and the state is then replaced whole. So a kill at any moment leaves the state before or the state after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.errors import BadSetting, EmbeddingMismatch, NotWritten
from anymask.pixels.video import Frames, FramesLike
from anymask.records import atomic
from anymask.track.answer import Answer, Entry
from anymask.track.opening import following_model
from anymask.track.settings import TrackSettings
from anymask.track.store import FRAMES, Store, pack, read_packed, write
from anymask.track.thing import Said, Thing

if TYPE_CHECKING:
    from anymask.models.video import VideoModel
    from anymask.track.session import VideoSession

STATE = "state.json"
POINTED = "pointed"
VERSION = 1


def state_of(folder: Path) -> dict[str, Any] | None:
    """The state in a folder, or None. Raises BadSetting where it is of another version of anymask or damaged."""
    try:
        state = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadSetting(f"{folder / STATE} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise BadSetting(f"{folder / STATE} is not a state of this version of anymask")
    return state


def write_state(session: VideoSession, folder: Path) -> None:
    """The state of a session, whole or not at all. Raises NotWritten."""
    files: set[str] = set()
    things = [_described(thing, folder, files) for thing in session._things.values()]
    state = {
        "version": VERSION,
        "model": session.model.card.name,
        "weights": session.model.weights,
        "source": session.frames.source,
        "size": session.size,
        "count": session.frames.count,
        "settings": dataclasses.asdict(session.settings),
        "serial": session._serial,
        "numbers": session._numbers,
        "things": things,
    }
    try:
        atomic.write(folder / STATE, json.dumps(state))
        for path in (folder / POINTED).glob("*"):
            if path.name not in files:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritten(f"the state in {folder} cannot be written: {error.strerror or error}") from error


def _described(thing: Thing, folder: Path, files: set[str]) -> dict[str, Any]:
    """An object as JSON; answers that were pointed at go into files, which are named for what was said last there."""
    serials = {frame: serial for serial, frame in thing.edits}
    answers = [
        *((frame, answer, "pending" if counts else "passing") for frame, (answer, counts) in thing.pending.items()),
        *((frame, answer, "prompted") for frame, answer in thing.prompted.items()),
    ]
    listed = []
    for frame, answer, kind in answers:
        name = f"{thing.number}-{frame}-{serials.get(frame, 0)}-{kind}.safetensors"
        path = folder / POINTED / name
        files.add(name)
        if not path.exists():
            facts, tensors = pack(Entry((answer,), False, 0))
            write(path, tensors, facts)
        listed.append({"frame": frame, "kind": kind, "file": name})
    return {
        "name": thing.name,
        "number": thing.number,
        "said": {str(frame): said.as_json() for frame, said in thing.said.items()},
        "answers": listed,
        "passed": {str(frame): backward for frame, backward in thing.passed.items()},
        "edits": thing.edits,
    }


def save(session: VideoSession, folder: Path) -> Path:
    """See `VideoSession.save`."""
    if folder.resolve() == session.folder.resolve():
        write_state(session, session.folder)
        return folder
    if folder.exists() and state_of(folder) is None and any(folder.iterdir()):
        raise NotWritten(f"the folder {folder} holds other things; give one that is empty or holds a session")
    fresh = folder.parent / f".anymask-{secrets.token_hex(8)}.tmp"
    old = folder.parent / f".anymask-{secrets.token_hex(8)}.old"
    try:
        (fresh / FRAMES).mkdir(parents=True)
        for frame in session._store.frames():
            _placed(session._store.path(frame), fresh / FRAMES)
        write_state(session, fresh)
        # between these two lines there is no folder; both states lie beside it then, whole
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        raise NotWritten(f"the session cannot be saved in {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _placed(path: Path, into: Path) -> None:
    # frames' files are replaced and never changed, so that both folders can share one
    try:
        os.link(path, into / path.name)
    except OSError:
        shutil.copy2(path, into / path.name)


def restore(
    folder: str | Path, source: FramesLike, model: VideoModel | str | None = None, *, copy: bool = False
) -> VideoSession:
    """A session that goes on from what `VideoSession.save` or a killed run left in a folder.

    source, model: the same clip and the same weights. copy: leave the folder as it is and go on in a temporary one;
    else the session goes on in it. Settings are those that it was made with.
    Raises BadSetting where there is no state or the clip is another one, EmbeddingMismatch for other weights.
    """
    from anymask.track.session import VideoSession

    place = Path(folder)
    state = state_of(place)
    if state is None:
        raise BadSetting(f"the folder {place} holds no session")
    frames = Frames.open(source)
    if list(frames.size) != state["size"] or (
        None not in (frames.count, state["count"]) and frames.count != state["count"]
    ):
        raise BadSetting(
            f"{frames!r} is not the clip of the session in {place}, which was of {state['source']}, "
            f"{state['size'][1]} x {state['size'][0]} px, {state['count']} frames"
        )
    loaded = following_model(model)
    if loaded.weights != state["weights"]:
        raise EmbeddingMismatch(
            f"the session in {place} was made with {state['model']} and weights {state['weights'][:20]!r}, the model "
            f"holds {loaded.weights[:20]!r}; give the same model, or begin a new session"
        )
    session = VideoSession.__new__(VideoSession)
    session._begin(frames, loaded, TrackSettings.of(**state["settings"]), None if copy else place)
    if copy and (place / FRAMES).is_dir():
        shutil.copytree(place / FRAMES, session.folder / FRAMES, copy_function=_linked, dirs_exist_ok=True)
    session._serial, session._numbers = state["serial"], state["numbers"]
    for path in [*place.glob(".anymask-*.tmp"), *(place / FRAMES).glob(".anymask-*.tmp")]:
        with contextlib.suppress(OSError):
            path.unlink()
    for described in state["things"]:
        thing = _restored(described, place, session._store)
        session._things[thing.name] = thing
    return session


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _restored(described: dict[str, Any], folder: Path, store: Store) -> Thing:
    thing = Thing(described["name"], described["number"], store)
    thing.said = {int(frame): Said.from_json(said, store.size) for frame, said in described["said"].items()}
    thing.passed = {int(frame): backward for frame, backward in described["passed"].items()}
    thing.edits = [(serial, frame) for serial, frame in described["edits"]]
    for one in described["answers"]:
        entry = read_packed(folder / POINTED / one["file"], store.size, store.device)
        answer: Answer = entry.answers[0]
        if one["kind"] == "prompted":
            thing.prompted[one["frame"]] = answer
        else:
            thing.pending[one["frame"]] = (answer, one["kind"] == "pending")
    return thing
