"""One mapping of settings laid over another.

Mappings are merged deep, anything else replaces what was there. What happens to the options of a plug-in when another
one is named cannot be decided before it is known which mappings are plug-ins: such a pair stays `Layered` until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layered:
    """A mapping over one with another `name`. A plug-in keeps `over` alone, a section reads both, `merged`."""

    base: dict[str, Any]
    over: dict[str, Any]

    def merged(self) -> dict[str, Any]:
        return laid_over(self.base, self.over)


def laid_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings with others on top; neither argument is changed."""
    both = dict(base)
    for key, value in over.items():
        both[key] = joined(base[key], value) if key in base else value
    return both


def joined(below: Any, above: Any) -> Any:
    """One value over another: mappings merged, anything else replaced."""
    if isinstance(above, Layered):  # laid over another one in its own file already
        below = below.merged() if isinstance(below, Layered) else below
        return Layered(laid_over(below, above.base), above.over) if isinstance(below, dict) else above
    if isinstance(below, Layered) and isinstance(above, dict):
        if "name" in above and above["name"] != below.over.get("name"):
            return Layered(below.merged(), above)
        return Layered(below.base, laid_over(below.over, above))
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if "name" in below and "name" in above and below["name"] != above["name"]:
        return Layered(below, above)
    return laid_over(below, above)
