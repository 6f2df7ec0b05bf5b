"""The range of depth a set was built for, against the one a task predicts.

Owns where a set's recipe states it, and what is said where the two differ; what is done about it is the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest


def range_notices(manifest: Manifest, max_depth_m: float) -> tuple[str, ...]:
    """One sentence with both numbers where they differ; none where they do not, or where the set states none."""
    built_m = _declared_m(manifest.recipe.get("source"))
    if built_m is None or built_m == max_depth_m:
        return ()
    deeper = "what is deeper is in the labels, and cannot be predicted"
    what = deeper if built_m > max_depth_m else "no label is deeper than that"
    return (
        f"task.max_depth_m is {max_depth_m:g}, and {manifest.name} was built with max_depth_m {built_m:g}: {what}. Set "
        f"task.max_depth_m={built_m:g} unless this is meant",
    )


def _declared_m(identity: Any) -> float | None:
    """The `max_depth_m` that a source states in its identity, wherever it stands in it."""
    if not isinstance(identity, Mapping):
        return None
    if isinstance(found := identity.get("max_depth_m"), int | float):
        return float(found)
    return next((found for inner in identity.values() if (found := _declared_m(inner)) is not None), None)
