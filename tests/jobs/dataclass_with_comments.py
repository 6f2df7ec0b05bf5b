"""A settings class with a comment in every place that help reads."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Base:
    beside: int = 1  # of it


@dataclass(frozen=True)
class Commented(Base):
    # two lines
    # of it
    above: str = "# none"
    silent: int = 2

    wide: list[int] = field(
        default_factory=list,
    )  # at its end
    text: str = "a"  # # no

    def method(self) -> None: ...  # not a field
