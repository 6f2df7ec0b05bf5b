"""A plug-in's `build` read off the text of its module, which is not run.

Help, schemas and the check of a configuration so load neither torch nor diffusers. What is not plain in the text (a
type only a type checker knows, a computed default) is left open: such a value is passed on as it is.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
import inspect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal, Union

from diffusion_perception.settings.signatures import REQUIRED, Option, Signature, Unread, option_docs, summary_of
from shards.errors import ConfigError

# Types that conversion understands; any other is `Any`, which passes a value on.
_TYPES: dict[str, Any] = {
    "str": str, "int": int, "float": float, "bool": bool, "Path": Path, "None": type(None), "Any": Any,
    "list": list, "List": list, "tuple": tuple, "Tuple": tuple, "Sequence": Sequence, "Iterable": Sequence,
    "dict": dict, "Dict": dict, "Mapping": Mapping, "Literal": Literal,
}  # fmt: skip

_PARSING = threading.Lock()


def of_module(module: str, n_leading: int = 0) -> Signature | None:
    """The signature of a module's `build`, read from its source; None where the source does not show it."""
    source = _Source.of(module)
    found = source.resolved("build") if source else None
    if found is None:
        return None
    where, node = found
    doc = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
    if isinstance(node, ast.ClassDef):
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not inits:
            return None
        node, n_leading = inits[0], n_leading + 1
    return where.signature(node, doc or "", n_leading) if isinstance(node, ast.FunctionDef) else None


def summary_of_module(module: str) -> str:
    """The first line of a module's docstring."""
    text = _text_of(module)
    return (ast.get_docstring(_parsed(text, module)) or "").partition("\n")[0] if text else ""


def class_constant(module: str, name: str) -> Any:
    """What the class that a module's `build` makes states as `name = ...`, if there is one such class beside it."""
    source = _Source.of(module)
    found = source.resolved("build") if source else None
    for node in found[0].names.values() if found else ():
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                value = getattr(part, "value", None)
                return value.value if isinstance(value, ast.Constant) else None
    return None


def defines_build(module: str) -> bool:
    """Whether a module has a `build`, by its source."""
    text = _text_of(module)
    return text is not None and _defines_build(text, module)


@functools.lru_cache(maxsize=1024)
def _defines_build(text: str, module: str) -> bool:
    """By the text, which may change: every name of a plug-in asks all the modules of its kind."""
    return "build" in _names_in(text, module)


def spec_of(module: str) -> ModuleSpec | None:
    """Where a module is, without importing it or its parents."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ValueError, ImportError):
        return None
    for name in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # The bare name: under its full one a folder without __init__.py is looked up through its imported parent.
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec


@dataclass(frozen=True)
class _Source:
    """The names at the top of a module, read and not run."""

    package: str
    names: Mapping[str, ast.AST] = field(default_factory=dict)

    @classmethod
    def of(cls, module: str) -> _Source | None:
        spec, text = spec_of(module), _text_of(module)
        if spec is None or text is None:
            return None
        package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
        return cls(package, _names_in(text, module))

    def resolved(self, name: str) -> tuple[_Source, ast.AST] | None:
        """What a name stands for, followed through imports and other names."""
        node = self.names.get(name)
        if isinstance(node, ast.Name) and node.id != name:
            return self.resolved(node.id)
        if not isinstance(node, ast.ImportFrom):
            return (self, node) if node else None
        original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
        parents = self.package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        other = _Source.of(".".join(filter(None, [base, node.module])))
        return other.resolved(original) if other else None

    def signature(self, node: ast.FunctionDef, doc: str, n_leading: int) -> Signature:
        arguments, docs = node.args, option_docs(inspect.cleandoc(doc), self.doc_of)
        by_place = [*arguments.posonlyargs, *arguments.args]
        none: list[ast.expr | None] = [None] * (len(by_place) - len(arguments.defaults))
        pairs = list(zip(by_place, [*none, *arguments.defaults], strict=True))[n_leading:]
        pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
        options = tuple(
            Option(
                argument.arg,
                self.hint(argument.annotation) if argument.annotation else Any,
                self.default(default) if default else REQUIRED,
                docs.get(argument.arg, ""),
            )
            for argument, default in pairs
        )
        return Signature(options, arguments.kwarg is not None, summary_of(inspect.cleandoc(doc)))

    def doc_of(self, name: str) -> str:
        """The docstring of a class that this module defines or imports."""
        found = self.resolved(name)
        doc = ast.get_docstring(found[1]) if found and isinstance(found[1], ast.ClassDef) else ""
        return inspect.cleandoc(doc or "")

    def default(self, node: ast.expr) -> Any:
        try:
            return self.value(node)
        except (LookupError, TypeError):
            return Unread(ast.unparse(node))

    def value(self, node: ast.AST) -> Any:
        """A constant expression; LookupError for anything that would have to be run."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Tuple | ast.List):
            return [self.value(part) for part in node.elts]
        if isinstance(node, ast.Dict):
            return {self.value(k): self.value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        if isinstance(node, ast.Subscript):
            return self.value(node.value)[self.value(node.slice)]
        if isinstance(node, ast.Name) and (found := self.resolved(node.id)):
            return found[0].value(found[1])
        raise LookupError(ast.unparse(node))

    def hint(self, node: ast.AST) -> Any:
        """The type an annotation states, with `Any` for what is not understood."""
        if isinstance(node, ast.Constant):
            return type(None) if node.value is None else self.hint(parsed(f"({node.value})").body[0].value)  # type: ignore[attr-defined]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _union(self.hint(node.left), self.hint(node.right))
        if isinstance(node, ast.Attribute):
            return _TYPES.get(node.attr, Any)
        if isinstance(node, ast.Name):
            if node.id in _TYPES:
                return _TYPES[node.id]
            found = self.resolved(node.id)
            return found[0].hint(found[1]) if found and not isinstance(found[1], ast.Name) else Any
        if isinstance(node, ast.Subscript):
            return self._subscripted(node)
        return Any

    def _subscripted(self, node: ast.Subscript) -> Any:
        name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return Literal[tuple(self.value(part) for part in parts)]
        if name in ("Optional", "Union"):
            return _union(*(self.hint(part) for part in parts), *([type(None)] if name == "Optional" else []))
        if name == "Annotated":
            return self.hint(parts[0])
        outer = _TYPES.get(name, Any)
        if outer is Any:
            return Any
        ellipsis = [isinstance(part, ast.Constant) and part.value is Ellipsis for part in parts]
        inner: list[Any] = [... if dots else self.hint(part) for part, dots in zip(parts, ellipsis, strict=True)]
        return outer[tuple(inner) if len(inner) > 1 else inner[0]]


def _names_in(text: str, module: str) -> dict[str, ast.AST]:
    """What the names at the top of a module are bound to."""
    names: dict[str, ast.AST] = {}
    for node in _parsed(text, module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names |= _assigned(target, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            names[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: node for alias in node.names}
    return names


def _assigned(target: ast.expr, value: ast.expr) -> dict[str, ast.AST]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name.id: part for name, part in pairs if isinstance(name, ast.Name)}
    return {target.id: value} if isinstance(target, ast.Name) else {}


def _text_of(module: str) -> str | None:
    spec = spec_of(module)
    loader: Any = spec.loader if spec else None
    return loader.get_source(spec.name) if spec and hasattr(loader, "get_source") else None


def _parsed(text: str, module: str) -> ast.Module:
    try:
        return parsed(text)
    except SyntaxError as error:
        raise ConfigError(f"plug-in {module}, line {error.lineno}: not readable as Python: {error.msg}.") from error


def parsed(text: str) -> ast.Module:
    """`ast.parse` by one thread at a time: CPython 3.11 counts the depth of the tree it makes per process, and an
    encoder actor builds two shards at once."""
    with _PARSING:
        return ast.parse(text)


def _union(*hints: Any) -> Any:
    return Any if Any in hints else Union[hints]  # noqa: UP007 - the members are known when this runs
