"""Which pages the site has, under which names and in which order: from the first picture to the inside of the code.

A page is named by its file in the repository; `reference` is the one that is made of docstrings. What is linked and
named nowhere here becomes a page that shows the file (`website.staging`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

REFERENCE = "reference"

NAVIGATION: Mapping[str, Mapping[str, str]] = {
    "Start": {
        "What this is": "README.md",
        "Quick start": "docs/quick_start.md",
        "Troubleshooting": "docs/troubleshooting.md",
    },
    "Your own data": {
        "Pictures, labels, depth": "docs/own_data.md",
        "Sentences": "docs/own_data_refer.md",
        "Building": "docs/building.md",
        "Looking after sets": "docs/sets.md",
    },
    "Datasets": {
        "The benchmarks": "docs/datasets.md",
        "What it costs": "docs/costs.md",
    },
    "Training": {
        "Running": "docs/running.md",
        "Which card": "docs/cards.md",
        "Predicting": "docs/predict.md",
        "A page to play with": "docs/ui.md",
        "Checkpoints": "docs/checkpoints.md",
        "Publishing a model": "docs/models.md",
        "Scaling out": "docs/scaling.md",
        "Storage": "docs/storage.md",
    },
    "Reuse": {
        "Features": "docs/features.md",
        "Probes": "docs/probes.md",
        "Recipes": "docs/recipes.md",
        "Baking": "docs/baking.md",
        "Reading sets": "docs/reading_sets.md",
    },
    "Reference": {
        "Format of a set": "docs/format.md",
        "Python": REFERENCE,
        "Terms": "docs/terms.md",
        "All pages": "docs/README.md",
    },
    "Methods": {
        "Facts behind the code": "docs/methods/README.md",
        "VPD, the shared backbone": "docs/methods/vpd.md",
        "Referring segmentation": "docs/methods/refer.md",
        "Segmentation": "docs/methods/segmentation.md",
        "Depth": "docs/methods/depth.md",
        "Label latents": "docs/methods/label_latents.md",
        "Meta Prompts": "docs/methods/meta_prompts.md",
        "SDXL and transformers": "docs/methods/families.md",
        "Human pose": "docs/methods/pose.md",
        "Official data layouts": "docs/methods/data_layouts.md",
        "Decisions of the shard set": "docs/methods/shards.md",
        "Training": "docs/methods/training.md",
        "Published checkpoints": "docs/methods/checkpoints.md",
        "Parity with the published code": "docs/methods/parity.md",
        "Performance": "docs/methods/performance.md",
        "Ray": "docs/methods/ray.md",
    },
    "Inside": {
        "Design": "docs/design.md",
        "Adding parts": "docs/extending.md",
        "Contributing": "CONTRIBUTING.md",
        "Changes": "CHANGELOG.md",
    },
}


def pages() -> dict[str, str]:
    """Every page's file in the repository -> its place in the site, both with `/`."""
    return {
        name: f"{site_place(name)}.md"
        for section in NAVIGATION.values()
        for name in section.values()
        if name != REFERENCE
    }


def site_place(name: str) -> str:
    """Where a page is in the site, without a suffix: docs/ is left out, and the README of all is the front page."""
    if name == "docs/README.md":
        return "pages"
    if name == "README.md":
        return "index"
    path = PurePosixPath(name).with_suffix("")
    inside = path.relative_to("docs") if path.parts[0] == "docs" else PurePosixPath(path.name.lower())
    return (inside.parent / "index" if inside.name == "README" else inside).as_posix()
