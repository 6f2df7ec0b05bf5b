"""Objects that travel to another process as the arguments they were made with, and read their files there again.

Locks, open files and what was read stay behind. What is made there is of the same class, so that one derived from a
source of this project is not taken for it.
"""

from __future__ import annotations

from typing import Any, Self


class Reopened:
    """Pickles as its class and the arguments of its constructor; what is set afterwards does not travel."""

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        made = super().__new__(cls)
        made._made_with = arguments, named
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), *self._made_with)


def _made(kind: type[Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return kind(*arguments, **named)
