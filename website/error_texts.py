"""Every text of an error that this project raises on purpose, read off the source: docs/troubleshooting.md's list.

Owns which raises count (those of `shards/errors.py`'s classes whose text stands where they are raised) and how a text
with holes is spelled: `<name>` where the message has something of the moment. Grouped by room, so that a
list stays short.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs")
FEWEST_WORDS = 4  # of a text's own: shorter ones say nothing that could be searched for


@dataclass(frozen=True, order=True)
class ErrorText:
    """One text, as it is written in the source."""

    room: str  # package and folder, or package alone
    place: str  # file, from the root
    text: str  # with <name> for what varies
    kind: str  # name of the class


def texts_of(root: Path) -> list[ErrorText]:
    """All of them, by room, each once a file."""
    kinds = error_classes((root / "shards" / "errors.py").read_text("utf-8"))
    trees = {
        path.relative_to(root).as_posix(): ast.parse(path.read_text("utf-8"))
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }
    words = {_module(place): _constants(tree) for place, tree in trees.items()}
    found: set[ErrorText] = set()
    for place, tree in trees.items():
        parts = place.split("/")
        room = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        for kind, text in raised(tree, kinds, words):
            found.add(ErrorText(room, place, text, kind))
    return sorted(found)


def error_classes(source: str) -> set[str]:
    """ContractError and the classes below it, of the file that defines them."""
    kinds = {"ContractError"}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in kinds for b in node.bases):
            kinds.add(node.name)
    return kinds


def raised(
    tree: ast.Module, kinds: Iterable[str], words: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[tuple[str, str]]:
    """Class and text of every such error that a module makes with a text of its own.

    Args:
        words: a module's name -> its constants that are texts; those that are imported are filled in.
    """
    known, words = _constants(tree), words or {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module in words:
            theirs = words[node.module]
            known |= {a.asname or a.name: theirs[a.name] for a in node.names if a.name in theirs}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
            for text in _spelled(node.args[0], known):
                if len(re.sub("<[^>]*>", " ", text).split()) >= FEWEST_WORDS:
                    yield node.func.id, text


def _module(place: str) -> str:
    return place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names in capitals that a module gives a plain text."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= {t.id: node.value.value for t in node.targets if isinstance(t, ast.Name) and t.id.isupper()}
    return found


def _spelled(node: ast.expr, known: Mapping[str, str]) -> list[str]:
    """A text's possible spellings; two where a condition chooses the whole of it."""
    if isinstance(node, ast.IfExp):
        return _spelled(node.body, known) + _spelled(node.orelse, known)
    return [" ".join(_pieces(node, known).split())]


def _pieces(node: ast.expr, known: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_pieces(part, known) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _pieces(node.left, known) + _pieces(node.right, known)
    if isinstance(node, ast.FormattedValue):
        return _pieces(node.value, known)
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.IfExp) and all(isinstance(part, ast.Constant) for part in (node.body, node.orelse)):
        ways = [str(part.value) for part in (node.body, node.orelse) if isinstance(part, ast.Constant)]
        return f"<{' or '.join(way.strip() for way in ways if way.strip())}>"
    return f"<{hole(node)}>"


def hole(node: ast.expr) -> str:
    """A short name of what will stand there."""
    if isinstance(node, ast.Name):
        return node.id.strip("_")
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_")
    if isinstance(node, ast.Call):
        joins = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        return hole(node.args[0]) if node.args and (joins or isinstance(node.func, ast.Name)) else hole(node.func)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return hole(node.generators[0].iter)
    inner = next((part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)), None)
    return hole(inner) if inner is not None else "..."


def listed(root: Path) -> str:
    """The list as Markdown: a heading for every room, an entry for every text."""
    lines: list[str] = []
    room = ""
    for one in texts_of(root):
        if one.room != room:
            room = one.room
            lines += ["", f"### {room}", ""]
        lines.append(f"- {_code(one.text)} {one.kind}, {one.place.removeprefix(room + '/')}")
    return "\n".join(lines[1:])


def _code(text: str) -> str:
    """As code, whatever the text itself has in it."""
    ticks = "``" if "`" in text else "`"
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"
