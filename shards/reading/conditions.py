"""Conditions on a record's meta, as plain data that a configuration can hold.

    {scene: kitchen}                       the value is this one
    {scene: [kitchen, bedroom]}            it is one of these
    {height: {min: 480, max: 1080}}        a number within bounds, both included; either may be left out
    {refs.category_id: 1}                  dots go into objects, and into every entry of a list: one of them fits

A value that is a list fits if one of its entries does. What a record's meta lacks fits nothing. All conditions must
fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shards.errors import ConfigError, did_you_mean

_BOUNDS = {"min", "max"}


def check_conditions(conditions: Mapping[str, Any]) -> None:
    """ConfigError for one that says nothing: an empty list, bounds that are none, or an unknown word in their place."""
    for path, wanted in conditions.items():
        if isinstance(wanted, Mapping):
            if strange := [word for word in wanted if word not in _BOUNDS]:
                hint = did_you_mean(str(strange[0]), _BOUNDS)
                raise ConfigError(f"where.{path} has {strange[0]!r};{hint} expected {{min: NUMBER, max: NUMBER}}")
            if not wanted or not all(_is_number(bound) for bound in wanted.values()):
                raise ConfigError(f"where.{path} is {dict(wanted)}; expected {{min: NUMBER, max: NUMBER}}, or one")
        elif _is_list(wanted) and not len(wanted):
            raise ConfigError(f"where.{path} is an empty list, which no record fits; name the values that do")


def fitting(conditions: Mapping[str, Any], metas: Iterable[tuple[int, Mapping[str, Any]]], name: str) -> list[int]:
    """The numbers of those metas that fit.

    Raises:
        ConfigError: a condition on what no meta has; with the closest of what they have.
    """
    fit, known, unmet = [], set[str](), set(conditions)
    for number, meta in metas:
        known |= meta.keys()
        unmet = {path for path in unmet if not any(True for _ in _found(meta, path))}
        if holds(conditions, meta):
            fit.append(number)
    if unmet and known:
        path = min(unmet)
        raise ConfigError(
            f"where.{path}: no meta of {name} has it.{did_you_mean(path, known)} There is: {', '.join(sorted(known))}"
        )
    return fit


def holds(conditions: Mapping[str, Any], meta: Mapping[str, Any]) -> bool:
    """Whether a meta fits all of them."""
    return all(any(_fits(value, wanted) for value in _found(meta, path)) for path, wanted in conditions.items())


def _found(value: Any, path: str) -> Iterator[Any]:
    """The values at a path, those of lists one by one."""
    if _is_list(value):
        for entry in value:
            yield from _found(entry, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        key, _, rest = path.partition(".")
        if key in value:
            yield from _found(value[key], rest)


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return _is_number(value) and wanted.get("min", value) <= value <= wanted.get("max", value)
    return any(_equal(value, one) for one in (wanted if _is_list(wanted) else [wanted]))


def _equal(value: Any, wanted: Any) -> bool:
    """JSON's equality: true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
