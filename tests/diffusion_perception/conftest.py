"""Whole tiny models in folders, one for each task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.tiny_model import TOKENS, write_tiny_model

TASKS: dict[str, dict[str, Any]] = {
    "refer": {"task": {"name": "refer"}, "tokens": TOKENS},
    "depth": {"task": {"name": "depth"}, "tokens": 1, "class_table": (3, 64), "class_names": ("attic", "bath", "den")},
    "seg": {"task": {"name": "seg", "classes": 5}, "tokens": 5, "class_table": (5, 64), "class_names": tuple("abcde")},
}


@pytest.fixture(scope="session")
def model_folder(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes the folder of a task's model, once."""
    made: dict[str, Path] = {}

    def make(task: str) -> str:
        if task not in made:
            made[task] = tmp_path_factory.mktemp("models") / task
            write_tiny_model(made[task], tiny_sd, **TASKS[task])
        return str(made[task])

    return make
