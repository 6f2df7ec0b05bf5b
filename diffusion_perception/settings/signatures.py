"""What a plug-in's `build` takes: names, types, defaults and docs of its options.

Reads it off a function or class in hand; off the text of a module that is not run, `source_text` does.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED: Any = inspect.Parameter.empty  # the default of an option that has none


@dataclass(frozen=True)
class Unread:
    """A default that is computed: only its source text is known."""

    source: str


@dataclass(frozen=True)
class Option:
    """One option of a plug-in."""

    name: str
    hint: Any = Any
    default: Any = REQUIRED
    doc: str = ""


@dataclass(frozen=True)
class Signature:
    """What one `build` takes."""

    options: tuple[Option, ...] = ()
    open_ended: bool = False  # it takes `**options` and checks them itself
    summary: str = ""  # first sentence of its docstring

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)


def of_callable(build: Callable[..., Any], n_leading: int = 0) -> Signature:
    """The signature of a function or class in hand, without its first `n_leading` parameters."""
    parameters = list(inspect.signature(build).parameters.values())[n_leading:]
    inside: Any = build.__init__ if inspect.isclass(build) else inspect.unwrap(build)
    names = getattr(inside, "__globals__", {})
    docs = option_docs(inspect.getdoc(build) or "", lambda name: inspect.getdoc(names.get(name)) or "")
    taken = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    options = tuple(Option(p.name, _hint_of(p.annotation, names), p.default, docs.get(p.name, "")) for p in taken)
    return Signature(options, any(p.kind is p.VAR_KEYWORD for p in parameters), summary_of(inspect.getdoc(build) or ""))


def _hint_of(annotation: Any, names: Mapping[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"option": annotation})
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        return typing.get_type_hints(holder, globalns=dict(names))["option"]
    except (NameError, TypeError, AttributeError, SyntaxError):  # a type that only a type checker imports
        return Any


_CLASS = re.compile(r"`([A-Z]\w+)`")
_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): ?(?P<text>.*)")


def option_docs(doc: str, doc_of: Callable[[str], str] = lambda _: "") -> dict[str, str]:
    """Option -> its text in an `Args:` section; options that share an entry share it.

    Args:
        doc_of: docstring of a class by its name: where an entry names a class that has the option, its text counts.
    """
    docs = _entries(doc)
    for name, text in docs.items():
        for cls in _CLASS.findall(text):
            docs[name] = _entries(doc_of(cls)).get(name, docs[name])
    return docs


def _entries(doc: str) -> dict[str, str]:
    _, found, section = doc.partition("\nArgs:\n")
    docs: dict[str, str] = {}
    names: list[str] = []
    lines = section.splitlines() if found else []
    margin = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if not line.strip() or depth < margin:
            break
        if depth > margin:
            docs |= {name: f"{docs[name]} {line.strip()}".strip() for name in names}
        elif entry := _ENTRY.fullmatch(line.strip()):
            names = entry["names"].split(", ")
            docs |= dict.fromkeys(names, entry["text"])
    return docs


def summary_of(doc: str) -> str:
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return paragraph.partition("; ")[0].partition(". ")[0].rstrip(".")
