"""What a driver asks of a builder, and what each builder makes sure of before it writes: that it would make the same.

A builder may run on another node, with other files, weights or libraries, and may have been started again since. Owns
this comparison and its words; building is `builder`'s, the lease on a set `pipeline.building.lease`'s.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.building.lease import LEASE_NAME, holder_of
from pipeline.example import Source
from pipeline.prompts.class_table import ClassTable
from shards.contract.canonical import canonical_json
from shards.contract.manifest import recipe_difference
from shards.errors import BeingBuilt, ConfigError, FingerprintMismatch
from shards.storage.storage import Folder

if TYPE_CHECKING:
    from pipeline.building.transaction import Order


@dataclass(frozen=True)
class Described:
    """What a builder would make of a split: plain data, but for the table.

    Attributes:
        recipe, environment: the two levels of a set's fingerprint.
        schema: as JSON.
    """

    recipe: dict[str, Any]
    environment: dict[str, Any]
    schema: Any
    table: ClassTable | None


@dataclass(frozen=True)
class Assignment:
    """What a driver asks of every builder of a split, and what each makes sure of before it writes.

    Attributes:
        folder: path or URL of the set.
        token: of the driver's lease on it; empty for a builder that is its own driver.
    """

    split: str
    folder: str
    order: Order
    recipe: dict[str, Any]
    environment: dict[str, Any]
    token: str = ""
    allow_changed: bool = False


def exact_of(encoder: Any) -> dict[str, Any]:
    """What of an encoder belongs to the exact level: `exact`, which one from outside need not have."""
    return dict(getattr(encoder, "exact", {}))


def check_assigned(mine: Described, work: Assignment) -> None:
    """FingerprintMismatch, field by field, unless a builder would make what its driver asks for."""
    asked = {"recipe": work.recipe} if work.allow_changed else {"recipe": work.recipe, "environment": work.environment}
    here = {name: getattr(mine, name) for name in asked}
    if not (lines := _apart(here, asked)):
        return
    raise FingerprintMismatch(
        f"the worker on {socket.gethostname()} would build something else into {work.folder}:\n  {lines}\n"
        "It has written nothing. Give every node the same files, weights, libraries and kind of device, or leave that "
        "node out; where only the environment differs, --allow-changed builds with all of them."
    )


def check_renders(recipe: dict[str, Any], environment: dict[str, Any], work: Assignment, host: str) -> None:
    """FingerprintMismatch, field by field, unless a worker that only renders would show the encoders what its driver
    asks for. `recipe` and `environment` are as far as such a worker knows them."""
    here = {"recipe": recipe} | ({} if work.allow_changed else {"environment": environment | {"encoders": {}}})
    asked: dict[str, Any] = {"recipe": {name: work.recipe[name] for name in recipe}}
    if not work.allow_changed:
        asked["environment"] = work.environment | {"encoders": {}}
    if not (lines := _apart(here, asked)):
        return
    raise FingerprintMismatch(
        f"the render worker on {host} would render something else for {work.folder}:\n  {lines}\n"
        "Nothing of it was written. Give every node the same files and libraries, or leave that node out "
        "(resources.render_resources); where only the environment differs, --allow-changed builds with all of them."
    )


def _apart(here: dict[str, Any], asked: dict[str, Any]) -> str:
    """Where a worker's part of a fingerprint is not its driver's, a line a field; empty: they are the same."""
    if canonical_json(here) == canonical_json(asked):
        return ""
    lines = recipe_difference(json.loads(canonical_json(here)), asked, "what the driver asks for")
    return "\n  ".join(lines) or "equal numbers that are written in other ways"


def check_source(described: Described, source: Source, split: str) -> None:
    """FingerprintMismatch unless a worker finds the same files as the driver, which planned by them."""
    mine, theirs = json.loads(canonical_json(source.identity(split))), described.recipe["source"]
    if apart := recipe_difference(mine, theirs, "the worker's"):
        raise FingerprintMismatch(
            f"the worker's source is not the driver's, split {split!r}:\n  " + "\n  ".join(apart) + "\n"
            "Give every node the same files under the same path. Nothing was written."
        )


def check_held(folder: Folder, token: str) -> None:
    """BeingBuilt or ConfigError unless the driver's lease is in the folder as it is seen from here."""
    holder = holder_of(folder)
    if holder is None:
        raise ConfigError(
            f"{folder} is another place on {socket.gethostname()} than where the driver runs: its {LEASE_NAME} is not "
            "there. Set out to a folder that every node reaches, or to a URL (docs/storage.md)."
        )
    if holder.token != token:
        raise BeingBuilt(f"{folder} is built by {holder} now; this worker stops, what it finished is kept")
