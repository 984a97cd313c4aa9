"""The first minute of a newcomer: from a clone to the first mask, and to the first click on the page.

    python benchmarks/first_minute.py [--repository PATH_OR_URL]

In an empty folder: clones, runs README's first command as it stands, then `anymask serve` and a click in headless
Chromium (needs playwright and chromium, in the environment that runs this script). Prints commands, seconds and bytes.
pip's own cache is emptied for it (PIP_NO_CACHE_DIR), the network is what it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def command_of(readme: str, name: str) -> str:
    """The fenced block that follows `<!-- command: NAME -->`."""
    found = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)```", readme, re.DOTALL)
    if found is None:
        sys.exit(f"README.md has no command {name}")
    return found[1].strip()


def megabytes(folder: Path) -> float:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def click(clone: Path) -> tuple[float, float]:
    """Seconds from `anymask serve` to a page that is ready, and from there through opening a photo to a mask."""
    from playwright.sync_api import sync_playwright

    photo = next((clone / ".venv").rglob("skimage/data/rocket.jpg"))
    began = time.monotonic()
    command = [str(clone / ".venv/bin/anymask"), "serve", "--no-browser", "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        try:
            with sync_playwright() as tools:
                browser = tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(f"{address}?hooks")
                page.wait_for_selector(".welcome h2")
                ready = time.monotonic() - began
                with page.expect_file_chooser() as chooser:
                    page.locator("[data-action=open]:visible").first.click()
                chooser.value.set_files(str(photo))
                page.wait_for_function("() => window.anymaskApp.pictures.current?.width > 0")
                box = page.locator(".stage").bounding_box()
                assert box is not None
                page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
                page.wait_for_function("() => window.anymaskApp.doc?.things.some((thing) => thing.mask.area)")
                done = time.monotonic() - began - ready
                browser.close()
        finally:
            server.terminate()
    return ready, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", default=str(ROOT))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "anymask"
        began = time.monotonic()
        subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{given.repository}", str(clone)], check=True)
        cloned = time.monotonic() - began
        size = megabytes(clone)
        command = command_of((clone / "README.md").read_text(), "try")
        began = time.monotonic()
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        environment |= {"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}
        log = subprocess.run(["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True)
        if log.returncode or not any((clone / "out").glob("*.png")):
            sys.exit(f"README's first command failed:\n{log.stdout[-2000:]}{log.stderr[-2000:]}")
        masked = time.monotonic() - began
        print(f"clone: 1 command, {cloned:.1f} s, {size:.0f} MB with its history of one commit")
        print(
            f"README's first command to the first mask: 1 command, {masked:.0f} s, {megabytes(clone / '.venv'):.0f} MB"
        )
        ready, done = click(clone)
        print(f"anymask serve to the page: 1 command, {ready:.1f} s")
        print(f"opening a photo and clicking, to the mask: {done:.1f} s")


if __name__ == "__main__":
    main()
