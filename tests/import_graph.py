"""Who imports whom among this project's own modules, read from the source text: nothing is executed.

Every import counts, wherever it stands: inside functions and under TYPE_CHECKING too, since a reader follows those as
well. `from package import name` leads to the module `package.name` if there is one, else to the package's `__init__`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

Graph = dict[str, set[str]]


def modules(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """Dotted name -> file of every module of these packages; a package's `__init__` is the package itself."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed once a session."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[tuple[str, tuple[str, ...], int], ...]:
    """(module, names taken from it, line) of every absolute import of a file, in any scope."""
    found: list[tuple[str, tuple[str, ...], int]] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, (), node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module, tuple(alias.name for alias in node.names), node.lineno))
    return tuple(found)


def graph(files: Mapping[str, Path]) -> Graph:
    """Module -> the modules among `files` that it names."""
    edges: Graph = {}
    for module, path in files.items():
        edges[module] = set()
        for target, names, _ in imports(path):
            submodules = {f"{target}.{name}" for name in names} & files.keys()
            if target in files and (not names or len(submodules) < len(names)):
                edges[module].add(target)
            edges[module] |= submodules
    return edges


def cycles(edges: Graph) -> list[list[str]]:
    """Tarjan's strongly connected components of more than one module, or of one that names itself; sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            component, stack[at:] = sorted(stack[at:]), []
            if len(component) > 1 or node in edges[node]:
                found.append(component)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(found)


def folded(edges: Graph, room: Mapping[str, str]) -> Graph:
    """The same imports between rooms instead of modules; a module without a room is left out."""
    rooms: Graph = {name: set() for name in room.values()}
    for module, targets in edges.items():
        if module in room:
            rooms[room[module]] |= {room[t] for t in targets if t in room} - {room[module]}
    return rooms
