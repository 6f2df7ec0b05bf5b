"""What `vit` is before its weights are read: from `config.json`, or of these sizes once it is loaded."""

from __future__ import annotations

from typing import Literal, get_args

from pipeline.encoders import VisionFacts
from pipeline.encoders._configs import number
from shards.errors import ConfigError
from shards.models.parts import find_config

Says = Literal["logits", "state"]
UNITS = {
    "logits": "logits of a ViT's classes",
    "state": "state of a ViT's class token behind the last layer, before the final norm",
}
BASE_CLASSES, BASE_WIDTH = 1000, 768  # of google/vit-base-patch16-224, assumed where no config is at hand
UNNAMED_CLASSES = 2  # transformers' number where a config has no table of them


def read_facts(model: str, revision: str | None, says: Says) -> VisionFacts:
    """Of a model; of a hub model that is not cached, the sizes of ViT-Base on ImageNet's 1000 classes.

    Raises:
        ConfigError: no vision transformer there.
    """
    check_says(says)
    config = find_config("vit", model, "vit", revision)
    if config is None:
        width = BASE_CLASSES if says == "logits" else BASE_WIDTH
        why = f"a vector of {width} numbers as of ViT-Base: {model} is not in the local cache"
        return facts_of(width, says, why)
    if says == "state":
        return facts_of(number("vit", model, config, "hidden_size"), says)
    names = config.get("id2label")
    if names is not None and not isinstance(names, dict):
        raise ConfigError(f"vit: the config.json of {model!r} says id2label = {names!r}, expected a table of classes")
    return facts_of(len(names) if names else UNNAMED_CLASSES, says)


def facts_of(width: int, says: Says, assumed: str = "") -> VisionFacts:
    """Of a network that says so many numbers."""
    return VisionFacts("vit", width, UNITS[says], assumed)


def check_says(says: str) -> None:
    """ConfigError for what no vision transformer says."""
    if says not in get_args(Says):
        raise ConfigError(f"vit: says is {says!r}, expected logits (of its classes) or state (of its class token)")
