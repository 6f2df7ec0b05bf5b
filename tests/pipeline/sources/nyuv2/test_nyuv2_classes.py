"""Room classes: the published order, the published rules, and their published oddities."""

from __future__ import annotations

import pytest

from pipeline.sources import nyuv2
from pipeline.sources.nyuv2.classes import CLASS_NAMES, class_id


def test_the_order_is_the_published_one_which_no_sorting_gives() -> None:
    assert len(set(CLASS_NAMES)) == 27
    assert CLASS_NAMES[:3] == ("printer_room", "bathroom", "living_room")
    assert CLASS_NAMES[14] == "excercise_room"
    assert CLASS_NAMES[26] == "bookstore"
    assert list(CLASS_NAMES) != sorted(CLASS_NAMES)
    assert nyuv2.CLASS_NAMES is CLASS_NAMES


@pytest.mark.parametrize(
    ("folder", "substring", "exact"),
    [
        ("playroom", "playroom", "playroom"),
        ("basement_0001a", "basement", "basement"),
        ("home_office_0004", "home_office", "home_office"),
        ("office_kitchen_0001b", "kitchen", "office_kitchen"),
        ("study_room_0005a", "study", "study_room"),
        ("nyu_office_0", "office", None),
        ("spaceship_0001", None, None),
    ],
)
def test_the_two_rules_differ_where_published(folder: str, substring: str | None, exact: str | None) -> None:
    for rule, expected in (("substring", substring), ("exact", exact)):
        found = class_id(folder, "rgb_00045.jpg", rule)
        assert (None if found is None else CLASS_NAMES[found]) == expected, rule


def test_the_substring_rule_never_gives_two_of_the_classes() -> None:
    found = {class_id(name, "rgb_00000.jpg", "substring") for name in CLASS_NAMES}
    assert {5, 19}.isdisjoint(found)
    assert len(found) == 25
