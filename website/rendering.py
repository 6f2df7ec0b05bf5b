"""The site, staged in a temporary folder and rendered by zensical, strictly: a warning ends it.

Owns the steps; settings are those of `mkdocs.yml` beside it. Nothing is fetched: fonts are the system's, and pages open
from a disk as well as from a server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from website.navigation import NAVIGATION, REFERENCE, pages, site_place
from website.reference import reference
from website.staging import Staging

ROOT = Path(__file__).resolve().parent.parent
NEEDS = ("zensical", "griffe")
SETTINGS, STYLE = ROOT / "website" / "mkdocs.yml", ROOT / "website" / "site.css"


class NotBuilt(Exception):
    """The site has warnings, or what builds it is not installed."""


def missing() -> list[str]:
    """Modules of the extra `docs` that are not installed."""
    return [name for name in NEEDS if find_spec(name) is None]


def build(into: Path) -> int:
    """Render all pages into a folder, in place of an earlier site; returns how many there are.

    Raises:
        NotBuilt: something else is there, or zensical is missing or warned of something, as of a link without an end.
        DeadLink: a page links to a file that is not there.
        Undocumented: an exported name has no docstring.
    """
    if absent := missing():
        raise NotBuilt(f"{', '.join(absent)}: not installed. pip install 'diffusion-perception[docs]'")
    check_replaceable(into)
    with tempfile.TemporaryDirectory(prefix="site-") as temporary:
        folder = Path(temporary)
        staging = Staging(ROOT, folder / "pages", pages())
        staging.stage_all()
        staging.write(f"{REFERENCE}.md", reference(ROOT))
        shutil.copyfile(STYLE, folder / "pages" / STYLE.name)
        navigation = json.dumps(_navigation())  # JSON is YAML
        (folder / SETTINGS.name).write_text(f"{SETTINGS.read_text('utf-8')}nav: {navigation}\n", "utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said = ran.stdout + ran.stderr
        if ran.returncode or "Warning" in said:
            raise NotBuilt(said)
        shutil.rmtree(into, ignore_errors=True)
        shutil.move(folder / "out", into)
    return sum(1 for _ in into.rglob("*.html"))


def check_replaceable(into: Path) -> None:
    """That a folder is a site of ours, empty, or not there. Raises NotBuilt."""
    if into.exists() and not (into / STYLE.name).is_file() and (not into.is_dir() or any(into.iterdir())):
        raise NotBuilt(f"{into}: there is something already, and it is no site. Give a new folder.")


def _navigation() -> list[dict[str, list[dict[str, str]]]]:
    """As mkdocs.yml has it."""
    return [
        {title: [{name: f"{site_place(page)}.md"} for name, page in section.items()]}
        for title, section in NAVIGATION.items()
    ]
