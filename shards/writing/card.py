"""The dataset card: README.md of a set, for a person who finds the folder without this project.

Facts about the source (title, origin, licence, terms, url, splits) come from the build; what is inside comes
from the manifest, so the card cannot disagree with it. No dates: equal sets have equal cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shards.contract.canonical import canonical_json
from shards.contract.manifest import Manifest

_FACTS = ("title", "origin", "licence", "terms", "url", "splits")
_UNKNOWN = "not stated"


def render_card(manifest: Manifest, facts: Mapping[str, Any]) -> str:
    """Markdown text of the card. Facts that are not known are said to be missing."""
    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(manifest.counts.items()))
    tar_bytes = sum(shard.tar_bytes for shard in manifest.shards)
    source = "\n".join(
        f"- **{name}**: {_prose(facts.get(name))}" for name in (*_FACTS, *sorted(set(facts) - set(_FACTS)))
    )
    return f"""# {manifest.name}

Precomputed model inputs, split `{manifest.split}`: {len(manifest.shards)} tars, {tar_bytes / 1e6:,.1f} MB.
Counts: {counts}.

## Source

{source}

## Contents

One record is one source image; an item is a run of rows of axis `{manifest.schema.item_axis}`, listed in
`meta.items`.

{schema_table(manifest)}

Read it with any WebDataset reader, for example `webdataset.WebDataset(tars).decode()`; the `.idx` files and
`manifest.json` serve the exact reader of the project that wrote it and can be ignored.

## Recipe

Fingerprint `{manifest.fingerprint}`.

```json
{canonical_json(manifest.recipe, "recipe", indent=1).decode()}
```
"""


def facts_in(card: str) -> dict[str, str]:
    """The facts about the source that a card states, as prose; what is not known is left out."""
    section = card.partition("\n## Source\n")[2].partition("\n## ")[0]
    found = re.findall(r"^- \*\*(.+?)\*\*: (.*)$", section, re.M)
    return {name: value for name, value in found if value != _UNKNOWN}


def schema_table(manifest: Manifest) -> str:
    """The fields as a Markdown table."""
    lines = ["| member | dtype | shape | row axis | unit |", "|---|---|---|---|---|"]
    for field in manifest.schema.fields:
        shape = f"[{', '.join(map(str, field.shape))}]" if field.codec == "npy" else ""
        lines.append(f"| {field.member} | {field.dtype} | {shape} | {field.axis} | {field.unit} |")
    return "\n".join(lines)


def _prose(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _UNKNOWN if value in (None, "") else str(value)
