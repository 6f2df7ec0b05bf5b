"""Every document that the project cites is in the repository, and every cited heading of docs/methods exists.

Comments cite facts as `docs/methods/<page>.md#<anchor>`, the anchor being the heading as GitHub turns it into a link.
What is refused: any other Markdown file that is not here, the short names of notes that were never part of the
repository, and bare section numbers in comments, which no reader can look up.
"""

from __future__ import annotations

import io
import posixpath
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".py", ".yaml", ".yml", ".md", ".toml", ".txt", ".cff"}
NAMES = {"Makefile", ".rayignore", ".gitignore"}

URL = re.compile(r"\w+://[^\s)>\]`'\"]+")
DOCUMENT = re.compile(r"(?<![\w/.-])([\w./-]*\w\.md)\b(?:#([\w-]+))?")
# One character of each name is a class of its own, so that this file does not cite what it forbids.
SHORT_NAMES = re.compile(
    r"\bvpd[_]spec\b|\bdata[_]formats\b|\bD[E]SIGN\b|\b(?:spec|perf|oracle) \(?\d|\breference/(?=\w)"
)
BARE_NUMBER = re.compile(r"\((?:sections? )?(?:1[0-4]|[1-9])\.\d{1,2}(?:(?:,| and| to) (?:1[0-4]|[1-9])\.\d{1,2})*\)")
MD = "md"  # planted lines are put together, so that this file passes its own check
WITHIN = re.compile(r"\]\(#([\w-]+)\)")  # a link to a heading of the same page
HEADING = re.compile(r"(#{1,6}) +(.+?) *#*$")


def files() -> list[Path]:
    """Text files of the repository: the tracked ones, or all where there is no git."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [ROOT / name for name in listed if name]
    else:
        found = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts[:-1])]
    return sorted(p for p in found if p.is_file() and (p.suffix in SUFFIXES or p.name in NAMES))


def slug(heading: str) -> str:
    """A heading as GitHub turns it into an anchor, without the number of a repeated one."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(markdown: str) -> set[str]:
    """Anchors of all headings outside code blocks."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    in_code = False
    for line in markdown.splitlines():
        in_code ^= line.lstrip().startswith("```")
        if not in_code and (heading := HEADING.match(line)):
            name = slug(heading[2])
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


def comment_lines(source: str) -> Iterator[tuple[int, str]]:
    """Lines of the comments and of the strings in triple quotes of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and token.string.lstrip("rRbBuU").startswith('"""'):
            yield from enumerate(token.string.splitlines(), token.start[0])


def wrong_lines(where: str, text: str, documents: Mapping[str, set[str]]) -> list[str]:
    """What a file cites and the repository lacks. `documents`: path of every Markdown file -> its anchors."""
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = URL.sub("", line) if "://" in line else line
        wrong += [
            f"{where}:{number}: {match[0]!r} is no document of this project" for match in SHORT_NAMES.finditer(line)
        ]
        for match in DOCUMENT.finditer(line) if ".md" in line else ():
            path, anchor = match[1].removeprefix("./"), match[2]
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(where), path))
            known = documents.get(path, documents.get(beside))
            if known is None:
                wrong.append(f"{where}:{number}: {match[0]!r} is not in the repository")
            elif anchor is not None and anchor not in known:
                wrong.append(f"{where}:{number}: {path} has no heading {anchor!r}")
        own = documents.get(where, set()) if where.endswith(".md") else set()
        wrong += [
            f"{where}:{number}: no heading {name!r} on this page" for name in WITHIN.findall(line) if name not in own
        ]
    if where.endswith(".py") and BARE_NUMBER.search(text):
        for number, line in comment_lines(text):
            wrong += [f"{where}:{number}: section {match[0]!r} of what?" for match in BARE_NUMBER.finditer(line)]
    return wrong


@pytest.fixture(scope="module")
def documents() -> dict[str, set[str]]:
    return {p.relative_to(ROOT).as_posix(): anchors(p.read_text("utf-8")) for p in files() if p.suffix == ".md"}


def test_every_cited_document_and_heading_is_here(documents: dict[str, set[str]]) -> None:
    wrong = [
        line
        for path in files()
        for line in wrong_lines(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"), documents)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_index_names_every_page(documents: dict[str, set[str]]) -> None:
    index = (ROOT / "docs/methods/README.md").read_text("utf-8")
    pages = {Path(name).name for name in documents if name.startswith("docs/methods/")} - {"README.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", index))


@pytest.mark.parametrize(
    "bad",
    [
        f"as published (vpd_{'spec'}.{MD} 7.2)",
        f"as published (vpd_{'spec'} 7.2)",
        f"facts in `data_{'formats'}` section 2",
        f"why so: {'design'.upper()} section 2",
        f"measured in ray.{MD} section 5",
        f"4e-4  # oracle {6.5}",
        f"twice the rate ({10.3}, {10.8})",
        f"docs/methods/nowhere.{MD}#loss",
        f"docs/methods/depth.{MD}#no-such-heading",
    ],
)
def test_the_check_itself_sees_a_bad_line(bad: str, documents: dict[str, set[str]]) -> None:
    assert wrong_lines("vpd/x.py", f'"""Something.\n\n{bad}\n"""\n', documents)
    assert wrong_lines("vpd/x.py", f"x = 1  # {bad}\n", documents)


@pytest.mark.parametrize(
    "good",
    [
        "docs/methods/depth.md#loss, and (docs/methods/vpd.md#one-token).",
        "README.md of a set; https://example.org/NOTES.md; a stride of 1.5 (ratio 0.5 to 2.0), Ray 2.60, SD 1.5",
    ],
)
def test_the_check_passes_what_can_be_looked_up(good: str, documents: dict[str, set[str]]) -> None:
    assert wrong_lines("vpd/x.py", f'"""Something: {good}"""\n', documents) == []


def test_anchors_are_githubs() -> None:
    text = "# A b\n```\n# not one\n```\n## C, d: `e_f`!\n## A b\n### VAE's x-y\n"
    assert anchors(text) == {"a-b", "c-d-e_f", "a-b-1", "vaes-x-y"}
