"""The card of published sets: README.md, with the YAML header that the Hugging Face hub reads.

Says what the manifests and the sets' own cards say; nothing is made up, and there are no dates. Its header names the
tars of each set as a configuration, with the types of its fields, so that `datasets` and the hub's viewer read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shards.contract.manifest import Manifest
from shards.upkeep.hub_features import header_features
from shards.writing.card import schema_table

# What a source says of its licence, in its own words, and the hub's name for it; anything else is `other`.
_LICENCES = {
    "cc0": "cc0-1.0",
    "cc0 1.0": "cc0-1.0",
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "cc by-nc-sa 3.0": "cc-by-nc-sa-3.0",
}
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_SHORT = {1_000: "1K", 10_000: "10K", 100_000: "100K", 1_000_000: "1M", 10_000_000: "10M"}
_TASK_OF_FIELD = {"depth": "depth-estimation", "label": "image-segmentation"}


@dataclass(frozen=True)
class Member:
    """A published set: the name of its folder, its manifest, and what its card says of the source."""

    name: str
    manifest: Manifest
    facts: Mapping[str, str]


def dataset_card(name: str, members: Sequence[Member], note: str = "") -> str:
    """Markdown text of the card of all sets at a place called `name`."""
    rows = "\n".join(_row(member) for member in members)
    sources = "\n\n".join(_source(facts) for facts in _distinct([member.facts for member in members]))
    fields = "\n\n".join(
        f"{', '.join(f'`{member.name}`' for member in members if schema_table(member.manifest) == table)}:\n\n{table}"
        for table in dict.fromkeys(schema_table(member.manifest) for member in members)
    )
    return f"""---
{_header(name, members)}
---

# {name}

Precomputed inputs of diffusion-based perception models: latents of a frozen image encoder, text, labels. No pictures
are inside, but **decoding a latent shows a near copy of its picture**: treat the latents as the pictures.

| set | split | records | items | MB | fingerprint |
|---|---|---|---|---|---|
{rows}

## Source and terms

{sources}
{note and f"{chr(10)}{note}{chr(10)}"}
## Fields

{fields}

## Use

```
diffusion-perception set pull URL-OF-THIS-PLACE to=data/shards
diffusion-perception set verify data/shards/{members[0].name}
diffusion-perception train data.train=data/shards/{members[0].name}
```

Training needs neither the pictures nor the encoders. The tars are plain WebDataset; `manifest.json` of each set has the
recipe and the sha256 of its tars, indexes and tables, `sets.json` those of the manifests.
"""


def licence_of(members: Sequence[Member]) -> str:
    """The hub's name of the one licence that all sets have, or `other`."""
    found = {_LICENCES.get(member.facts.get("licence", "").rstrip(".").strip().lower(), "other") for member in members}
    return found.pop() if len(found) == 1 else "other"


def _header(name: str, members: Sequence[Member]) -> str:
    licence, records = licence_of(members), sum(member.manifest.counts["records"] for member in members)
    lines = [f"pretty_name: {json.dumps(name)}", f"license: {licence}"]
    if licence == "other":
        lines.append("license_name: see-source-and-terms")
        links = [url for member in members if (url := member.facts.get("url", "")).startswith("http")]
        lines += [f"license_link: {json.dumps(links[0])}"] if links else []
    tasks = sorted({task for member in members for task in _tasks(member.manifest)})
    lines.append(f"task_categories: {json.dumps(tasks)}")
    lines.append(f"size_categories: {json.dumps([_size_category(records)])}")
    lines.append(f"tags: {json.dumps(['webdataset', 'latents', 'stable-diffusion', 'diffusion-perception'])}")
    lines.append("configs:")
    for member in members:
        split = re.sub(r"\W", "_", member.manifest.split) or "train"
        lines += [
            f"- config_name: {json.dumps(member.name)}",
            "  data_files:",
            f"  - split: {json.dumps(split)}",
            f"    path: {json.dumps(f'{member.name}/*.tar')}",
        ]
    lines.append("dataset_info:")
    for member in members:
        told = json.dumps(header_features(member.manifest.schema))  # JSON is YAML
        lines += [f"- config_name: {json.dumps(member.name)}", f"  features: {told}"]
    return "\n".join(lines)


def _tasks(manifest: Manifest) -> Iterator[str]:
    named = [_TASK_OF_FIELD[field.name] for field in manifest.schema.fields if field.name in _TASK_OF_FIELD]
    yield from named
    if manifest.schema.item_axis == "sentence":
        yield "image-segmentation"
    elif not named:
        yield "image-feature-extraction"


def _size_category(records: int) -> str:
    for low, high in zip((0, *_SIZES), _SIZES, strict=False):
        if records < high:
            return f"{_SHORT[low]}<n<{_SHORT[high]}" if low else f"n<{_SHORT[high]}"
    return f"n>{_SHORT[_SIZES[-1]]}"


def _row(member: Member) -> str:
    manifest = member.manifest
    megabytes = sum(shard.tar_bytes for shard in manifest.shards) / 1e6
    return (
        f"| {member.name} | {manifest.split} | {manifest.counts['records']:,} | {manifest.counts['items']:,} | "
        f"{megabytes:,.1f} | `{manifest.fingerprint[:12]}` |"
    )


def _source(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}**: {value}" for name, value in facts.items()) or "- nothing is stated"


def _distinct(facts: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return list({json.dumps(one, sort_keys=True): one for one in facts}.values())
