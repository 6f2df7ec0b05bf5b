"""What each field of a settings dataclass is for: the comment that stands beside it, or the lines above it."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping


@functools.cache
def field_docs(cls: type) -> Mapping[str, str]:
    """Field -> its comment, of a dataclass and those it inherits from; a field without one is absent."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):
        try:
            text = textwrap.dedent(inspect.getsource(part))
        except (OSError, TypeError):  # made at run time, or run from a console: there is no text
            continue
        docs |= _of_text(text)
    return docs


def _of_text(text: str) -> dict[str, str]:
    beside, alone = _comments(text)
    (cls,) = ast.parse(text).body
    docs: dict[str, str] = {}
    for node in cls.body if isinstance(cls, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if found := " ".join(beside[line] for line in lines if line in beside) or _above(node.lineno, alone):
                docs[node.target.id] = found
    return docs


def _comments(text: str) -> tuple[dict[int, str], dict[int, str]]:
    """Line -> comment: those beside code, and those that have a line for themselves."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            kind = alone if token.line[: token.start[1]].strip() == "" else beside
            kind[token.start[0]] = token.string.lstrip("# ")
    return beside, alone


def _above(line: int, alone: dict[int, str]) -> str:
    lines: list[str] = []
    while (line := line - 1) in alone:
        lines.insert(0, alone[line])
    return " ".join(lines)
