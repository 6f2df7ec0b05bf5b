"""Whether sets of a published dataset may be passed on: which datasets a recipe names, and what their terms say.

A recipe names its source; the card of a set made of a hub's rows has the address of the repository, which may be a
known copy of a dataset. A source of folders names none: whose pictures it read, only its user knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.stocktaking.facts import Dataset
from pipeline.stocktaking.names import described, known


def datasets_in(recipe: Mapping[str, Any], *urls: str) -> dict[str, Dataset]:
    """Name -> description of the datasets that a set was made of, as far as its recipe, and the addresses that its card
    gives, tell."""
    said = {text.lower() for text in (*_texts(recipe.get("source")), *urls)}
    found = {}
    for name in known():
        dataset = described(name)
        copies = {mirror.url.lower() for mirror in dataset.mirrors}
        if said & {name, name.replace("_plus", "+"), *copies}:
            found[name] = dataset
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
