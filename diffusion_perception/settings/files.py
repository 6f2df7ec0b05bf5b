"""Configuration files as plain data: found, read as YAML, laid over their bases, and overridden key by key.

Nothing here knows which settings exist; binding plain data to dataclasses is `binding`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion_perception.places import configuration_roots
from diffusion_perception.settings.layers import Layered, joined, laid_over
from diffusion_perception.settings.typed import Typed, is_null, plain_yaml
from diffusion_perception.settings.values import shown
from shards.errors import ConfigError, did_you_mean

BASE = "base"  # `base: FILE.yaml` in a mapping: the settings of that file below it


def read_file(
    path: str | Path,
    overrides: Sequence[tuple[str, str]] = (),
    below: dict[str, Any] | None = None,
    over: str | Path = "",
) -> dict[str, Any]:
    """A YAML file as plain data, on top of the files it names as `base`, with dotted overrides laid over it.

    Args:
        path: looked up from the working directory, then from the project or the installed package; empty: no file.
        below: settings that the file lies over.
        over: a second file, which lies over the first; empty: none.

    Raises:
        ConfigError: no such file, not YAML, or an override that goes through something that is not a mapping.
    """
    data = below or {}
    for file in filter(None, (path, over)):
        data = laid_over(data, _read(_found(file, configuration_roots()), ()))
    for key, text in overrides:
        lay_over(data, key, text)
    return data


def _read(file: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """A file and its bases. `chain`: the files that led to it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as UTF-8 text: {error}") from error
    data = plain_yaml(text, str(file)) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected settings as 'key: value', found {type(data).__name__}.")
    below = _base(data, (*chain, file))
    own = {key: _composed(value, (*chain, file)) for key, value in data.items() if not _names_file(key, value)}
    return own if below is None else laid_over(below, own)


def _composed(value: Any, chain: tuple[Path, ...]) -> Any:
    """A value with all bases inside it laid below."""
    if not isinstance(value, dict):
        return value
    below = _base(value, chain)
    own = {key: _composed(part, chain) for key, part in value.items() if not _names_file(key, part)}
    return own if below is None else joined(below, own)


def _base(data: dict[str, Any], chain: tuple[Path, ...]) -> dict[str, Any] | None:
    """The settings of the file that a mapping names as its base, if it names one.

    Raises:
        ConfigError: no such file, or one that leads back to itself; the message names the chain.
    """
    named: Any = data.get(BASE)
    if not _names_file(BASE, named):
        return None
    file = _found(named, [chain[-1].parent, *configuration_roots()], _arrows(chain))
    if any(file.samefile(other) for other in chain):
        raise ConfigError(f"{_arrows((*chain, file))}: base leads in a circle. Take one of these out.")
    return _read(file, chain)


def _names_file(key: str, value: Any) -> bool:
    # Options of that name, as the (long, short) side of a view plan, are no files.
    return key == BASE and isinstance(value, str) and value.endswith((".yaml", ".yml"))


def _arrows(chain: tuple[Path, ...]) -> str:
    return " -> ".join(map(str, chain))


def _found(path: str | Path, roots: Sequence[Path], named_by: str = "") -> Path:
    places = [root / path for root in roots]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        names = sorted({p.stem for place in places if place.parent.is_dir() for p in place.parent.glob("*.yaml")})
        at = f", the base of {named_by}" if named_by else ""
        raise ConfigError(
            f"no configuration file {path}{at}.{did_you_mean(Path(path).stem, names)} "
            f"Files in {Path(path).parent}/: {', '.join(names) or 'none'}."
        )
    return found


def plugin_name(spec: Any) -> str:
    """The name in a plug-in setting of plain data; empty where there is none."""
    spec = spec.over if isinstance(spec, Layered) else spec
    if isinstance(spec, Typed):
        spec = spec.opened("name")
    spec = spec.get("name") if isinstance(spec, dict) else spec
    return "" if spec is None else shown(spec)


def lay_over(data: dict[str, Any], dotted: str, text: str) -> None:
    """Set one dotted key of plain data to a value as it was typed.

    Raises:
        ConfigError: the key goes through something that is not a mapping.
    """
    *parents, last = dotted.split(".")
    for depth, name in enumerate(parents):
        where = ".".join(parents[: depth + 1])
        node = data.setdefault(name, {})
        if isinstance(node, Typed):
            node = data[name] = node.opened(where)
        if isinstance(node, Typed | str) and node:  # the short form of a plug-in
            node = data[name] = {"name": node}
        if isinstance(node, Layered):
            node = node.over
        if not isinstance(node, dict):
            raise ConfigError(f"override {dotted}={text}: {where} is {shown(node)}, which has no settings.")
        data = node
    value: Any = Typed(text)
    present = data.get(last)
    present = present.over if isinstance(present, Layered) else present
    # `source=ade20k` for a plug-in names it and drops the other one's options, which would not fit.
    if isinstance(present, dict) and "name" in present and _is_name(value):
        value = data[last] if present["name"] == value.words else {"name": value.words}
    data[last] = value


def _is_name(value: Typed) -> bool:
    try:
        return not value.empty and not is_null(value) and isinstance(value.opened(""), str | Typed)
    except ConfigError:
        return False
