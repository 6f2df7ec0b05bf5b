"""The reference page: what `diffusion_perception` and `shards` export, from signatures and docstrings.

Read from the source text by griffe, so that nothing of the project is imported. Owns how they are written down; what is
public is each package's `__all__`, the order is that of the table in `diffusion_perception`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("diffusion_perception", "shards")
READ = ("shards", "pipeline", "vpd", "diffusion_perception")
WIDTH = 90  # characters of a signature's line
COMMENT = re.compile(r"  # ([^#]*?)(?: \)| \]|\s*)$")


class Undocumented(Exception):
    """An exported name without a docstring."""


def reference(root: Path) -> str:
    """The page, as Markdown.

    Raises:
        Undocumented: an exported name says nothing of itself.
    """
    import griffe

    loader = griffe.GriffeLoader(search_paths=[root])
    for package in READ:
        loader.load(package)
    lines = ["# Python", "", "What `import` gives. Names are loaded when they are first asked for.", ""]
    for package in PACKAGES:
        module = loader.modules_collection[package]
        lines += [f"## {package}", "", _first_paragraph(module), ""]
        for name in sorted(map(str, module.exports or ()), key=str.lower):
            found = module[name]
            lines += _described(found.final_target if found.is_alias else found, f"{package}.{name}")
    return "\n".join(lines) + "\n"


def _described(found: Any, name: str) -> Iterator[str]:
    if found.docstring is None:
        raise Undocumented(f"{name} ({found.path}) is exported and has no docstring")
    yield from (f"### {name}", "")
    if found.is_function or (found.is_class and "__init__" in found.members):
        yield from ("```python", _signature(found, name.rpartition(".")[2]), "```", "")
    yield from _docstring(found)
    if found.is_class:
        yield from _fields(found)
        for member in found.members.values():
            if member.is_alias or member.name.startswith("_") or not member.is_function:
                continue
            if "property" in member.labels or member.docstring is None:
                continue
            yield from (f"#### {found.name}.{member.name}", "")
            yield from ("```python", _signature(member, member.name), "```", "")
            yield from _docstring(member)
    where = found.relative_package_filepath.as_posix()
    yield from (f"Defined in `{where}`.", "")


def _fields(found: Any) -> Iterator[str]:
    """Public attributes and properties that say what they are."""
    rows = []
    for member in found.members.values():
        public = not member.is_alias and not member.name.startswith("_")
        if public and member.docstring and (member.is_attribute or "property" in member.labels):
            said = _in_a_cell(_one_line(member.docstring.value.partition("\n\n")[0]))
            rows.append(f"| `{member.name}` | {f'`{member.annotation}`' if member.annotation else ''} | {said} |")
    if rows:
        yield from ("| attribute | type | |", "|---|---|---|", *rows, "")


def _comments(found: Any) -> dict[str, str]:
    """What stands beside the fields of a dataclass, by their names."""
    if "dataclass" not in found.labels:
        return {}
    lines, first = found.source.splitlines(), found.lineno
    said = {}
    for member in found.members.values():
        if member.is_attribute and not member.is_alias and member.lineno is not None:
            beside = " ".join(lines[member.lineno - first : (member.endlineno or member.lineno) - first + 1])
            if comment := COMMENT.search(beside):
                said[member.name] = comment[1]
    return said


def _signature(found: Any, name: str) -> str:
    """`name(...) -> type`, one parameter a line where it is long."""
    function = found.members["__init__"] if found.is_class else found
    parameters = [p for p in function.parameters if p.name not in ("self", "cls")]
    words, keyword_only = [], False
    for p in parameters:
        kind = str(p.kind.value) if p.kind else ""
        if kind == "keyword-only" and not keyword_only:
            if not any(w.startswith("*") for w in words):
                words.append("*")
            keyword_only = True
        star = "*" if "variadic positional" in kind else "**" if "variadic keyword" in kind else ""
        annotated = f"{star}{p.name}: {p.annotation}" if p.annotation is not None else f"{star}{p.name}"
        if p.default is not None and not star:
            annotated += f" = {p.default}" if p.annotation is not None else f"={p.default}"
        words.append(annotated)
    returned = f" -> {function.returns}" if found.is_function and function.returns is not None else ""
    said = _comments(found) if found.is_class else {}
    line = f"{name}({', '.join(words)}){returned}"
    if len(line) <= WIDTH and not said:
        return line
    told = [said.get(word.partition(":")[0], "") for word in words]
    lines = [f"    {word}," + (f"  # {text}" if text else "") for word, text in zip(words, told, strict=True)]
    return "\n".join([f"{name}(", *lines, f"){returned}"])


def _docstring(found: Any) -> Iterator[str]:
    """Text as it is, sections as lists."""
    for section in found.docstring.parse("google", warnings=False):
        kind = section.kind.value
        if kind == "text":
            yield from (section.value, "")
        elif kind == "examples":
            for _, text in section.value:
                yield from (text, "")
        elif kind in ("parameters", "raises", "returns", "yields", "attributes"):
            yield from (f"**{kind.capitalize()}**", "")
            for item in section.value:
                name = getattr(item, "name", "") or (str(item.annotation) if kind == "raises" else "")
                yield f"- {f'`{name}`: ' if name else ''}{_one_line(item.description)}"
            yield ""
        else:
            yield from (str(section.value), "")


def _first_paragraph(module: Any) -> str:
    return _one_line(module.docstring.value.partition("\n\n")[0]) if module.docstring else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _in_a_cell(text: str) -> str:
    """Bars outside code would end the cell."""
    return "`".join(part if code % 2 else part.replace("|", "\\|") for code, part in enumerate(text.split("`")))
