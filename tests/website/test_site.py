"""The site: every page of docs/ is in it, and a build offline has no warning, no dead link and no dead anchor."""

from __future__ import annotations

import json
import posixpath
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from website.navigation import NAVIGATION, REFERENCE, pages, site_place
from website.rendering import ROOT, NotBuilt, build, check_replaceable, missing
from website.staging import DeadLink, Staging

MD, OWN = "md", "#y"  # links that lead nowhere are put together: tests/test_citations.py follows them
NOTE = {"cell_type": "markdown", "source": [f"See [a](docs/a.{MD})."]}
CODE = {"cell_type": "code", "source": ["x = 1"]}
needs_docs = pytest.mark.skipif(bool(missing()), reason="the extra docs (zensical, griffelib) is not installed")


class Ends(HTMLParser):
    """What a page links to, loads, and offers as anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "script", "img"):
            self.loads += [given[name] for name in ("href", "src") if name in given]


def read(text: str) -> Ends:
    ends = Ends()
    ends.feed(text)
    return ends


def dead(site: dict[str, Ends], files: set[str]) -> list[str]:
    """Links within a site that lead nowhere. `site`: every page's place -> its ends; `files`: every file's place."""
    wrong = []
    for place, ends in site.items():
        for link in (*ends.links, *ends.loads):
            if "://" in link or link.startswith(("mailto:", "data:")):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path)) if path else place
            target = f"{target}/index.html".removeprefix("./") if path.endswith("/") or target == "." else target
            if target not in files:
                wrong.append(f"{place}: {link}")
            elif anchor and target in site and anchor not in site[target].anchors:
                wrong.append(f"{place}: {link}, an anchor")
    return wrong


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("site") / "out"
    build(into)
    return into


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    written = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = [name for section in NAVIGATION.values() for name in section.values()]
    assert len(named) == len(set(named))
    assert set(named) - {REFERENCE} == written | {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert len(set(pages().values())) == len(pages())


def test_readmes_are_the_front_pages_of_their_folders() -> None:
    places = {name: site_place(name) for name in ("README.md", "docs/README.md", "docs/methods/README.md")}
    assert list(places.values()) == ["index", "pages", "methods/index"]
    assert (site_place("docs/methods/vpd.md"), site_place("CHANGELOG.md")) == ("methods/vpd", "changelog")


@needs_docs
def test_the_site_is_whole(built: Path) -> None:
    """zensical's own strict check passed; this one also follows links in the frame of a page, pictures and styles."""
    files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    site = {place: read((built / place).read_text("utf-8")) for place in files if place.endswith(".html")}
    del site["404.html"]  # its links start at the root of a server
    assert {place.removesuffix(".md") + ".html" for place in pages().values()} <= set(site)
    assert dead(site, files) == []


@needs_docs
def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    for page in built.rglob("*.html"):
        assert [load for load in read(page.read_text("utf-8")).loads if "://" in load] == [], page


@needs_docs
def test_the_reference_has_every_exported_name(built: Path) -> None:
    import diffusion_perception
    import shards

    anchors = read((built / "reference.html").read_text("utf-8")).anchors
    exported = [f"diffusion_perception.{name}" for name in diffusion_perception.__all__]
    exported += [f"shards.{name}" for name in shards.__all__]
    assert {name.lower().replace(".", "") for name in exported} <= anchors


@needs_docs
def test_a_planted_fault_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Staging.write

    def planted(self: Staging, place: str, text: str) -> None:
        real(self, place, text + f"\n[there]({OWN})\n" if place.startswith("costs") else text)

    monkeypatch.setattr(Staging, "write", planted)
    with pytest.raises(NotBuilt, match="anchor does not exist"):
        build(tmp_path / "out")


def test_a_folder_that_is_no_site_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    for taken in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(NotBuilt, match="it is no site"):
            check_replaceable(taken)
    for free in (tmp_path / "new", tmp_path / "empty", tmp_path / "site"):
        if free.name != "new":
            free.mkdir()
        if free.name == "site":
            (free / "site.css").touch()
        check_replaceable(free)


def test_links_lead_within_the_site_and_dead_ones_are_refused(tmp_path: Path) -> None:
    root, staged = tmp_path / "repository", tmp_path / "staged"
    a, b = f"docs/a.{MD}", f"docs/b.{MD}"
    for name, text in (
        (a, f"[b](b.{MD}#x) [own]({OWN}) [out](https://x.org)\n```\n[code](no)\n```\n![p](pictures/p.png)\n"),
        (b, "[a](../configs/a.yaml), [all](../configs), [n](../n.ipynb)"),
        ("n.ipynb", json.dumps({"cells": [NOTE, CODE]})),
        ("docs/pictures/p.png", "png"),
        ("configs/a.yaml", "a: 1"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    staging = Staging(root, staged, {a: f"in/a.{MD}", b: f"b.{MD}"})
    staging.stage_all()
    assert (staged / f"in/a.{MD}").read_text() == (
        f"[b](../b.{MD}#x) [own]({OWN}) [out](https://x.org)\n```\n[code](no)\n```\n![p](../pictures/p.png)\n"
    )
    assert (
        staged / f"b.{MD}"
    ).read_text() == f"[a](files/configs/a.yaml.{MD}), [all](files/configs/index.{MD}), [n](files/n.ipynb.{MD})\n"
    assert "a: 1" in (staged / f"files/configs/a.yaml.{MD}").read_text()
    assert "\na.yaml\n" in (staged / f"files/configs/index.{MD}").read_text()
    assert (staged / f"files/n.ipynb.{MD}").read_text() == f"See [a](../in/a.{MD}).\n\n```python\nx = 1\n```\n"
    assert (staged / "pictures/p.png").read_text() == "png"
    with pytest.raises(DeadLink, match="links to gone, which"):
        staging.rewritten("[x](gone)", b, f"b.{MD}")


def test_the_check_of_links_sees_what_is_dead() -> None:
    page = read('<h1 id="x"></h1><a href="b.html#y"></a><a href="#x"></a><a href="#z"></a><img src="no.png">')
    wrong = dead({"a/a.html": page, "a/b.html": read('<p id="y">')}, {"a/a.html", "a/b.html"})
    assert wrong == ["a/a.html: #z, an anchor", "a/a.html: no.png"]
