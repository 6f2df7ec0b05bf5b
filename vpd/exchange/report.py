"""What became of every key of a checkpoint, and the refusal when keys do not fit.

Owns the record that an import or a loaded folder leaves, and the comparison of found with expected weights. It names
keys as the file does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shards.errors import SchemaMismatch

SHOWN = 5  # keys of a kind in a message


@dataclass
class Report:
    """Filled while a checkpoint is mapped.

    Attributes:
        source: the file.
        layout: name of the recognised layout.
        mapped: key of the file -> name here.
        left: key of the file -> why it is not used.
        missing: name here -> why it may be absent.
        notes: what the weights do not say and was assumed.
    """

    source: str
    layout: str
    mapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Every key, as plain data."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """A page for people: counts, reasons and notes."""
        lines = [f"{self.source}: layout {self.layout}", f"  mapped   {len(self.mapped):5d} keys"]
        for name, entries in (("left", self.left), ("missing", self.missing)):
            lines.append(f"  {name:<8} {len(entries):5d} keys")
            lines += [f"           {count:5d}   {reason}" for reason, count in Counter(entries.values()).items()]
        return lines + [f"  note: {note}" for note in self.notes]


def check_fit(
    report: Report,
    found: Mapping[str, torch.Tensor],
    expected: Mapping[str, Sequence[int]],
    may_miss: Mapping[str, str] | None = None,
) -> None:
    """Make sure that weights are exactly the expected ones, but for prefixes that may be missing.

    Args:
        report: of this import; it translates names back and receives what was missing with leave.
        found: weights by our name.
        expected: shape of every weight by our name.
        may_miss: prefix of our names -> why it may be absent.

    Raises:
        SchemaMismatch: naming the first missing, unexpected and differently shaped keys.
    """
    theirs = {ours: key for key, ours in report.mapped.items()}
    absent = []
    for name in expected:
        if name not in found:
            reason = next((why for prefix, why in (may_miss or {}).items() if name.startswith(prefix)), None)
            if reason is None:
                absent.append(name)
            else:
                report.missing[name] = reason
    unknown = [theirs.get(name, name) for name in found if name not in expected]
    misshapen = [
        f"{theirs.get(name, name)} {list(tensor.shape)} (expected {list(expected[name])})"
        for name, tensor in found.items()
        if name in expected and tuple(tensor.shape) != tuple(expected[name])
    ]
    refuse(report, {"missing": absent, "unexpected": unknown, "of another shape": misshapen})


def refuse(report: Report, faults: Mapping[str, Sequence[str]]) -> None:
    """SchemaMismatch that names the first keys of every kind of fault; nothing if there are none."""
    if not any(faults.values()):
        return
    told = [
        f"{len(keys)} keys {kind}: " + ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
        for kind, keys in faults.items()
        if keys
    ]
    raise SchemaMismatch(
        f"{report.source} does not fit the layout {report.layout}:\n  "
        + "\n  ".join(told)
        + "\nThe file is incomplete, "
        "from another version, or of another architecture."
    )
