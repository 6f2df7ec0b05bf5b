"""The 27 room classes that VPD's depth model is prompted with, and the two published rules that give a picture one.

The order is the published one (docs/methods/vpd.md#room-prompts): it came from a directory listing, so no sorting
reproduces it, and a table of class embeddings is only right in this order.
"""

from __future__ import annotations

import re

CLASS_NAMES = (
    "printer_room",
    "bathroom",
    "living_room",
    "study",
    "conference_room",
    "study_room",
    "kitchen",
    "home_office",
    "bedroom",
    "dinette",
    "playroom",
    "indoor_balcony",
    "laundry_room",
    "basement",
    "excercise_room",  # spelled so in the dataset
    "foyer",
    "home_storage",
    "cafe",
    "furniture_store",
    "office_kitchen",
    "student_lounge",
    "dining_room",
    "reception_room",
    "computer_lab",
    "classroom",
    "office",
    "bookstore",
)
RULES = ("substring", "exact")
MEAN_CLASS = -1  # stands for the mean of all rows of the table


def class_id(folder: str, file_name: str, rule: str) -> int | None:
    """Row of the picture `<folder>/<file_name>` in the class table; None if the rule finds no class.

    substring   VPD: the first class, in order, that occurs in `<folder>_<file_name>`. It gives office_kitchen to
                kitchen, study_room to study and nyu_office to office; ids 5 and 19 never occur.
    exact       mmsegmentation: what stands before the first digit must be a class. It knows no nyu_office.
    Both: docs/methods/depth.md#room-classes.
    """
    if rule == "substring":
        name = f"{folder}_{file_name}"
        return next((index for index, known in enumerate(CLASS_NAMES) if known in name), None)
    room = re.split(r"\d", folder, maxsplit=1)[0].removesuffix("_")
    return CLASS_NAMES.index(room) if room in CLASS_NAMES else None
