"""What the options of a user's own labels declare: the classes, and the reader of a label file that follows.

Owns how a class list, values, colours and ignored ones become one table, and the checks between them. The reading
itself is `pipeline.files.label_coding`'s and `pipeline.files.labelme`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files.class_list import ClassList, class_list
from pipeline.files.label_coding import FORMS, LabelCoding, packed, unpacked
from pipeline.files.label_png import IGNORE, counted
from pipeline.files.labelme import LabelmeShapes
from pipeline.files.readable import Readable
from shards.errors import ConfigError, did_you_mean

LABELME = "labelme"
NO_CLASS = "__ignore__"  # labelme's name for ignored shapes; it takes no value, though its lists begin with it


@dataclass(frozen=True)
class Declared:
    """Class names in the order of the stored values, how a label file is read, and what to say where it cannot be."""

    names: tuple[str, ...]
    read: Callable[[Readable], np.ndarray]
    identity: Mapping[str, Any]  # what the declaration adds to the class names; nothing for plain counted indices
    caution: str = ""


def declared(
    where: str,
    root: Path,
    classes: str | Sequence[str],
    coding: str,
    zero_is_ignored: bool,
    values: Mapping[str, str],
    ignore_values: Sequence[int] | None,
    colours: Mapping[str, Sequence[int]],
    ignored_classes: Sequence[str],
) -> Declared:
    """See `pipeline.sources.image_folders.build` for the options. ConfigError: options that contradict each other."""
    listed = class_list(classes, root, f"{where}: classes")
    ignored = {*ignored_classes, NO_CLASS}
    _check_known(where, "ignored_classes", ignored_classes, listed.names)
    names = tuple(name for name in listed.names if name not in ignored)
    if not names:
        raise ConfigError(f"{where}: all of {list(listed.names)} are ignored; leave a class")
    if coding not in (*FORMS, LABELME):
        raise ConfigError(f"{where}: coding is {coding!r}; expected one of {', '.join((*FORMS, LABELME))}")
    if colours and coding != "colour":
        raise ConfigError(f"{where}: colours are given, and coding is {coding}; set coding: colour")
    by_value = bool(values or ignore_values is not None or zero_is_ignored)
    if by_value and coding in ("colour", LABELME):
        what = "colours" if coding == "colour" else "the names of shapes"
        raise ConfigError(
            f"{where}: values, ignore_values and zero_is_ignored are of numbers; coding {coding} has {what}"
        )
    if coding == LABELME:
        shapes = LabelmeShapes(names, tuple(sorted(ignored)))
        return Declared(names, shapes, {"coding": coding, "ignored_classes": sorted(ignored_classes)})
    if coding == "colour":
        class_of = _of_colours(where, listed, names, colours)
        caution = ""
    else:
        class_of = _of_values(where, listed, names, zero_is_ignored, values, ignore_values)
        caution = _caution(names, class_of, zero_is_ignored, ignore_values)
    plain = class_of == _counted(names, zero_is_ignored)
    identity: dict[str, Any] = {} if coding == "index" else {"coding": coding}
    if not plain:
        identity["class_of"] = [[value, class_of[value]] for value in sorted(class_of)]
    return Declared(names, LabelCoding(coding, class_of, names), identity, caution)


def _of_values(
    where: str,
    listed: ClassList,
    names: tuple[str, ...],
    zero_is_ignored: bool,
    values: Mapping[str, str],
    ignore_values: Sequence[int] | None,
) -> dict[int, int]:
    if values and zero_is_ignored:
        raise ConfigError(f"{where}: values say what 0 is; leave zero_is_ignored out")
    _check_known(where, "values", values.values(), listed.names)
    if values:
        named = {_whole(where, value): name for value, name in values.items()}
        if absent := [name for name in names if name not in named.values()]:
            raise ConfigError(f"{where}: values give class {absent[0]!r} no value; every class needs one")
    elif listed.values:
        named = dict(zip(listed.values, listed.names, strict=True))
    else:
        numbered = [name for name in listed.names if name != NO_CLASS]
        counted(len(numbered), zero_is_ignored)  # as many as 8 bits hold
        named = dict(enumerate(numbered, int(zero_is_ignored)))
    class_of = {value: names.index(name) if name in names else IGNORE for value, name in named.items()}
    if both := [value for value in ignore_values or () if class_of.get(value, IGNORE) != IGNORE]:
        raise ConfigError(
            f"{where}: value {both[0]} is class {names[class_of[both[0]]]!r}, and ignore_values names it too; it is "
            "one or the other"
        )
    default = [IGNORE] if IGNORE not in class_of and not values else []
    ignored = default if ignore_values is None else list(ignore_values)
    return class_of | dict.fromkeys((*ignored, *((0,) if zero_is_ignored else ())), IGNORE)


def _of_colours(
    where: str, listed: ClassList, names: tuple[str, ...], colours: Mapping[str, Sequence[int]]
) -> dict[int, int]:
    _check_known(where, "colours", colours, listed.names)
    given = {name: tuple(colour) for name, colour in colours.items()} or dict(
        zip(listed.names, listed.colours, strict=bool(listed.colours))
    )
    if absent := [name for name in names if name not in given]:
        raise ConfigError(
            f"{where}: coding is colour, and class {absent[0]!r} has none. Give colours: {{{absent[0]}: [r, g, b]}}, "
            "or a class file with them"
        )
    for name, colour in given.items():
        if len(colour) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in colour):
            raise ConfigError(f"{where}: colours.{name} is {list(colour)}; expected three levels of 0 to 255")
    class_of: dict[int, int] = {}
    for name, colour in given.items():
        if packed(colour) in class_of:
            raise ConfigError(f"{where}: colour {unpacked(packed(colour))} stands for two classes, {name!r} is one")
        class_of[packed(colour)] = names.index(name) if name in names else IGNORE
    return class_of


def _counted(names: tuple[str, ...], zero_is_ignored: bool) -> dict[int, int]:
    """The table of indices that count up, the only one there was."""
    table = {value: value - zero_is_ignored for value in range(int(zero_is_ignored), len(names) + zero_is_ignored)}
    return table | {IGNORE: IGNORE} | ({0: IGNORE} if zero_is_ignored else {})


def _caution(
    names: tuple[str, ...], class_of: Mapping[int, int], zero_is_ignored: bool, ignore_values: Sequence[int] | None
) -> str:
    if zero_is_ignored:
        return f"0 is read as no class, and 1 as {names[0]!r}; if 0 is {names[0]!r}, leave zero_is_ignored out"
    if ignore_values is None and class_of.get(IGNORE) == IGNORE and len(names) > 1:
        meaning = ", ".join(f"{value}: {name}" for value, name in zip((0, IGNORE), names, strict=False))
        return f"255 is read as ignore; if it is a class, declare values: {{{meaning}}}"
    return ""


def _check_known(where: str, option: str, given: Any, known: Sequence[str]) -> None:
    if strange := [name for name in given if name not in known]:
        hint = did_you_mean(str(strange[0]), known)
        raise ConfigError(f"{where}: {option} names {strange[0]!r}, which is none of the classes.{hint}")


def _whole(where: str, text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise ConfigError(
            f"{where}: values has the key {text!r}; expected label values, {{0: NAME, 255: NAME}}"
        ) from None
