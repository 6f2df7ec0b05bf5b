"""Whether a task from outside the project can be asked for pictures in the way it is asked today.

Owns the comparison of its `draw`, `legend` and `export` with the call; what they promise is `vpd.tasks.Pictured`'s.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from shards.errors import ConfigError

if TYPE_CHECKING:
    from vpd.tasks import Task

CALLS = {
    "draw": ("image", "answer", "style"),
    "legend": ("image", "answer", "style"),
    "steady": ("image", "answer", "style"),
    "export": ("answer", "path", "image", "style"),
}


def check_pictured(task: Task) -> None:
    """That a task takes what it is given for a picture.

    Raises:
        ConfigError: a method takes something else; the message names both forms.
    """
    for name, given in CALLS.items():
        form = inspect.signature(getattr(task, name))
        try:
            form.bind(*given)
        except TypeError as error:
            raise ConfigError(
                f"task {task.name}: its {name}{form} cannot be called as {name}({', '.join(given)}): {error}. Write it "
                f"as `def {name}(self, {', '.join(given)})` in {type(task).__module__} (vpd.tasks.Pictured)."
            ) from error
