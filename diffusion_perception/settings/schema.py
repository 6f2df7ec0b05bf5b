"""JSON schemas of configuration files, for editors: names, types, choices and docs of every setting.

From the same facts as the help (`describe`, `field_docs`, `signatures`). A schema says what may stand in a file; what
is missing in one that lies over a `base`, or is still given on the command line, only binding can tell. In draft 7, the
newest dialect that every editor's YAML server reads: there, nothing may stand beside a `$ref`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal

from diffusion_perception.settings import describe, modules, values
from diffusion_perception.settings.field_docs import field_docs
from diffusion_perception.settings.files import BASE
from diffusion_perception.settings.plain import key_of
from diffusion_perception.settings.signatures import REQUIRED

DIALECT = "http://json-schema.org/draft-07/schema#"
NUMBER = r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$"  # YAML 1.1 reads 1e-4 as text
_LEAVES: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": ["integer", "string"], "pattern": NUMBER},
    float: {"type": ["number", "string"], "pattern": NUMBER},
}
_BASE = {"type": "string", "pattern": r"\.ya?ml$", "description": "a file of settings that these lie over"}


def schema_of(cls: type, title: str) -> dict[str, Any]:
    """The schema of the files that are bound to a dataclass."""
    shared: dict[str, Any] = {}
    root = _section(cls, shared)
    needed = _needed(cls)
    whole: list[dict[str, Any]] = [{"required": [BASE]}, needed] if needed else []
    return {"$schema": DIALECT, "title": title, **root, **({"anyOf": whole} if whole else {}), "definitions": shared}


def _section(cls: type, shared: dict[str, Any]) -> dict[str, Any]:
    hints, docs = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    properties = {BASE: _BASE}
    for field in dataclasses.fields(cls):
        key, default = key_of(field), describe.default_of(field)
        properties[key] = _setting(key, _kind(hints[field.name], shared), docs.get(field.name, ""), default)
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _needed(cls: type) -> dict[str, Any]:
    """What a file without a base must hold, in the sections that it must hold, too."""
    required = [f for f in dataclasses.fields(cls) if describe.default_of(f) is REQUIRED]
    hints = typing.get_type_hints(cls)
    inner = {key_of(f): _needed(hints[f.name]) for f in required if dataclasses.is_dataclass(hints[f.name])}
    inside = {key: {"anyOf": [{"required": [BASE]}, needed]} for key, needed in inner.items() if needed}
    names = [key_of(f) for f in required]
    return {"required": names, **({"properties": inside} if inside else {})} if names else {}


def _kind(hint: Any, shared: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type."""
    if members := values.members_of(hint):
        return _any([{"type": "null"} if member is type(None) else _kind(member, shared) for member in members])
    if package := values.package_of(hint):
        return _plugin(package, shared)
    hint = values.bare(hint)
    if dataclasses.is_dataclass(hint):
        return _section(typing.cast("type", hint), shared)
    args = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return {"enum": list(args)}
    if hint in _LEAVES:
        return dict(_LEAVES[hint])
    if hint in values.TEXTS:
        return {"type": "string"}
    if values.is_fixed(hint):
        items = [_kind(part, shared) for part in args]
        return {"type": "array", "items": items, "additionalItems": False, "minItems": len(items)}
    if values.shape_of(hint) is list:
        return {"type": "array", **({"items": _kind(args[0], shared)} if args else {})}
    if values.shape_of(hint) is dict:
        return {"type": "object", "additionalProperties": _kind(values.inner_of(hint), shared)}
    return {}


def _plugin(package: str, shared: dict[str, Any]) -> dict[str, Any]:
    """A plug-in: its name alone, a mapping with one of the names, or with options alone over a base that names it."""
    if package not in shared:
        shared[package] = {}  # known, so that what is inside may refer to it
        names = modules.available(package)
        named = [_named(package, name, shared) for name in names]
        outside = {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": r"\."}},
            "required": ["name"],
            "description": "a plug-in of another package, by its dotted name",
        }
        alone = {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"\."}], "type": "string"}
        unnamed = _unnamed(package, names, shared)
        shared[package] = {"oneOf": [alone, *named, outside, unnamed], "description": f"one of {', '.join(names)}"}
    return {"$ref": f"#/definitions/{package}"}


def _named(package: str, name: str, shared: dict[str, Any]) -> dict[str, Any]:
    key = f"{package}.{name}"
    takes = describe.options_of(package, name, package)
    properties: dict[str, Any] = {"name": {"const": name, "description": takes.summary}}
    for option in takes.options:
        default = REQUIRED if option.default is REQUIRED else describe.plain_default(option)
        properties[option.name] = _setting(option.name, _kind(option.hint, shared), option.doc, default)
    shared[key] = {
        "type": "object",
        "properties": {BASE: _BASE, **properties},
        "required": ["name"],
        "additionalProperties": takes.open_ended,
    }
    return {"$ref": f"#/definitions/{key}"}


def _unnamed(package: str, names: list[str], shared: dict[str, Any]) -> dict[str, Any]:
    """Options without a name: of any of the plug-ins."""
    places: dict[str, list[dict[str, Any]]] = {BASE: [_BASE]}
    for name in names:
        key = f"{package}.{name}"
        for option in shared[key]["properties"]:
            if option not in ("name", BASE):
                places.setdefault(option, []).append({"$ref": f"#/definitions/{key}/properties/{option}"})
    properties = {option: _any(refs) for option, refs in places.items()}
    return {"type": "object", "properties": {"name": False, **properties}, "additionalProperties": False}


def _setting(key: str, kind: dict[str, Any], doc: str, default: Any) -> dict[str, Any]:
    """One setting: its type, doc and default. One named `base` may be a file instead."""
    kind = kind if default is REQUIRED else _nullable(kind)
    kind = {"anyOf": [_BASE, kind]} if key == BASE else {"allOf": [kind]} if "$ref" in kind else kind
    known = {} if default is REQUIRED or default is None else {"default": default}
    return {**({"description": doc} if doc else {}), **kind, **known}


def _nullable(kind: dict[str, Any]) -> dict[str, Any]:
    """A null, or nothing after the key: back to the default, or none."""
    if {"type": "null"} in kind.get("anyOf", []):
        return kind
    if "enum" in kind:
        return {**kind, "enum": [*kind["enum"], None]}
    if "type" in kind:
        types = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
        return {**kind, "type": [*types, "null"]}
    return _any([kind, {"type": "null"}]) if kind else {}


def _any(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
