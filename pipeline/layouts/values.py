"""What values, colours or names of labels mean, as far as they can say it themselves: the options that declare them.

Owns the readings that are taken and their reasons: masks of 0 and 255, values that count up, values with gaps, colours
of a list, LabelMe's shapes. Names that no file gives are made up, and said to be.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.files.class_list import ClassList
from pipeline.files.label_coding import packed, unpacked
from pipeline.files.label_png import IGNORE
from pipeline.files.labelme import BACKGROUND
from pipeline.layouts.guess import Option
from pipeline.layouts.labels import Held
from shards.errors import SourceError

NO_CLASS = ("__ignore__", "ignored", "ignore", "void", "unlabelled", "unlabeled")
_MOST_COLOURS = 64  # of a colour coding without a list; more are blurred borders or ids of objects
_IN_COLOURS = {
    "ade20k_full": "of the full ADE20K: red // 10 * 256 + green, names are in its JSON",
    "red": "of COCO panoptic's two-channel form: red is the category, names are in its JSON",
}
_RENAME = "made-up names: call classes what they are, their prompts are read by the model"


def meaning(held: Held, listed: tuple[str, ClassList] | None) -> tuple[dict[str, Option], int, list[str]]:
    """(options, number of classes, notes).

    Args:
        listed: path of a class list beside the labels, and what it holds.

    Raises:
        SourceError: more values or colours than classes could have.
    """
    if held.form == "labelme":
        return _of_shapes(held, listed)
    if held.form == "colour":
        return _of_colours(held, listed)
    if held.form in _IN_COLOURS:
        return _with_gaps(held, [value for value in held.values if value], [0], _IN_COLOURS[held.form])
    return _of_values(held, listed)


def renamed(options: dict[str, Option], names: Sequence[str]) -> dict[str, Option]:
    """The options with the names that a person gives in place of made-up ones, in their order.

    Raises:
        SourceError: another number of names than values or colours that were found.
    """
    tables = [name for name in ("values", "colours") if name in options]
    made_up = options["classes"].value if "classes" in options else ()
    if not tables or not isinstance(made_up, list):
        return options
    if len(made_up) != len(names):
        raise SourceError(
            f"source.classes has {len(names)} names, {list(names)}, and the labels hold {len(made_up)} {tables[0]}, in "
            f"this order: {list(options[tables[0]].value)}. Name them all, or say source.{tables[0]} too"
        )
    new = dict(zip(made_up, names, strict=True))
    found = dict(options)
    if "values" in options:
        values = {value: new[name] for value, name in options["values"].value.items()}
        found["values"] = Option(values, options["values"].why)
    if "colours" in options:
        colours = {new[name]: colour for name, colour in options["colours"].value.items()}
        found["colours"] = Option(colours, options["colours"].why)
    return found


def _of_values(held: Held, listed: tuple[str, ClassList] | None) -> tuple[dict[str, Option], int, list[str]]:
    values = held.values
    if set(values) == {0, IGNORE}:
        names = list(listed[1].names) if listed and len(listed[1].names) == 2 else ["background", "thing"]
        return (
            {
                "classes": Option(names, f"masks of 0 and 255; {_RENAME}"),
                "values": Option(dict(zip((0, IGNORE), names, strict=True)), f"no other value in {held.said()}"),
            },
            2,
            [],
        )
    classes = [value for value in values if value not in (-1, IGNORE)]
    if not classes:
        raise SourceError(f"labels hold nothing but {values}, which stand for no class; are these the label files?")
    if len(classes) > IGNORE - 1:
        raise SourceError(
            f"labels hold {len(classes)} values up to {classes[-1]}: a set holds {IGNORE} classes. Are these objects, "
            "numbered in every picture anew (instances)? Classes are in other files then"
        )
    ignored = [value for value in (-1, IGNORE) if value in values]
    last = classes[-1]
    if listed and last < len(_numbered(listed[1])):
        return _listed(listed, ignored, last, held)
    if last < IGNORE and 2 * len(classes) > last + 1:  # counted up, a few of them in no file that was looked at
        names = [f"class_{value}" for value in range(last + 1)]
        options = {"classes": Option(names, f"values 0 to {last} in {held.said()}; {_RENAME}")}
        return options | _ignored(ignored), len(names), [*_void(last, held), *_short(listed, last)]
    return _with_gaps(held, classes, ignored, "values with gaps")


def _listed(
    listed: tuple[str, ClassList], ignored: list[int], last: int, held: Held
) -> tuple[dict[str, Option], int, list[str]]:
    path, found = listed
    none = [name for name in found.names if name.lower() in NO_CLASS]
    classes = len(found.names) - len(none)
    options = {"classes": Option(path, f"a class list beside the labels: {classes} classes, values up to {last} occur")}
    if named := [name for name in none if name != "__ignore__"]:
        options["ignored_classes"] = Option(named, "no class, as their names say")
    return options | _ignored(ignored), classes, []


def _with_gaps(
    held: Held, classes: list[int], ignored: list[int], what: str
) -> tuple[dict[str, Option], int, list[str]]:
    names = {value: f"class_{value}" for value in classes}
    options = {
        "classes": Option(list(names.values()), f"{what}, in {held.said()}; {_RENAME}"),
        "values": Option(names, "each value that occurs; one that none of these files has will be a reject"),
        "ignore_values": Option(ignored, "stand for no class"),
    }
    form = {"coding": Option(held.form, what)} if held.form != "index" else {}
    return form | options, len(names), []


def _of_colours(held: Held, listed: tuple[str, ClassList] | None) -> tuple[dict[str, Option], int, list[str]]:
    coding = {"coding": Option("colour", f"pictures in colour, {len(held.pixels)} of them in {held.said()}")}
    if listed and listed[1].colours:
        path, found = listed
        known = {packed(colour) for colour in found.colours}
        if strange := [unpacked(value) for value in held.values if value not in known]:
            raise SourceError(
                f"labels hold the colour {strange[0]}, which {path} does not list, and {len(strange) - 1} others. Add "
                "it, or remove the list if it is of other labels"
            )
        none = [name for name in found.names if name.lower() in NO_CLASS]
        options = {"classes": Option(path, f"a class list with {len(found.names)} colours beside the labels")}
        if none:
            options["ignored_classes"] = Option(none, "no class, as their names say")
        return coding | options, len(found.names) - len(none), []
    if len(held.pixels) > _MOST_COLOURS:
        raise SourceError(
            f"labels are in colour and hold {len(held.pixels)} colours or more, and no class list lies beside them. "
            "Numbers of objects in colours (COCO panoptic) need their JSON: labels=FILE.json. Blurred or lossy copies "
            "are no labels. Colours of classes need a list, class_dict.csv with name,r,g,b"
        )
    names = {value: "colour_{}_{}_{}".format(*unpacked(value)) for value in held.values}
    options = {
        "classes": Option(list(names.values()), _RENAME),
        "colours": Option({name: list(unpacked(value)) for value, name in names.items()}, "every colour that occurs"),
    }
    note = "nothing says which colour is no class: name it in ignored_classes, too"
    return coding | options, len(names), [note]


def _of_shapes(held: Held, listed: tuple[str, ClassList] | None) -> tuple[dict[str, Option], int, list[str]]:
    coding = {"coding": Option("labelme", f"LabelMe's JSON: {held.said()}")}
    shapes = [name for name, _ in held.shapes.most_common() if name not in (*BACKGROUND, "__ignore__")]
    if listed and set(shapes) <= set(listed[1].names):
        path, found = listed
        classes = len([name for name in found.names if name != "__ignore__"])
        return (
            coding | {"classes": Option(path, "a class list beside the labels, with all names of shapes")},
            classes,
            [],
        )
    if not shapes:
        raise SourceError(f"{held.said()}, and none has a shape with a label")
    names = [BACKGROUND[1], *shapes]
    why = "background, which is what lies in no shape, and the labels of shapes; without it these pixels are ignored"
    return coding | {"classes": Option(names, why)}, len(names), []


def _ignored(ignored: list[int]) -> dict[str, Option]:
    if ignored == [IGNORE] or not ignored:
        return {}  # what the source does of itself
    return {"ignore_values": Option(ignored, "stand for no class")}


def _void(last: int, held: Held) -> list[str]:
    if IGNORE in held.pixels:
        return [f"255 is read as no class ({held.pixels[IGNORE]:,} pixels of {held.files[IGNORE]} files)"]
    return [
        f"no file says which value is no class: if it is 0, set zero_is_ignored: true; if it is {last} (CamVid's 11), "
        f"set ignored_classes: [class_{last}]"
    ]


def _short(listed: tuple[str, ClassList] | None, last: int) -> list[str]:
    return [f"{listed[0]} has {len(listed[1].names)} names, and value {last} occurs: it was not used"] if listed else []


def _numbered(found: ClassList) -> list[str]:
    return [name for name in found.names if name != "__ignore__"]
