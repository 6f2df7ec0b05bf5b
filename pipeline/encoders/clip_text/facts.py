"""What `clip_text` is before its weights are read: from `text_encoder/config.json`."""

from __future__ import annotations

from pipeline.encoders import TextFacts
from pipeline.encoders._configs import number
from shards.errors import ConfigError
from shards.models.parts import find_config

SD1_WIDTH = 768  # of CLIP ViT-L/14, assumed where no config is at hand


def read_facts(model: str, revision: str | None, length: int) -> TextFacts:
    """Of a model; of a hub model that is not cached, the width of Stable Diffusion 1's.

    Raises:
        ConfigError: no text model there, or one with fewer positions than `length`.
    """
    config = find_config("clip_text", model, "text_encoder", revision)
    if config is None:
        why = f"text states {SD1_WIDTH} wide as in Stable Diffusion 1: {model} is not in the local cache"
        return TextFacts("clip_text", length, SD1_WIDTH, why)
    config = config.get("text_config", config)  # of a model that is text and image encoder
    check_length(length, number("clip_text", model, config, "max_position_embeddings"))
    return TextFacts("clip_text", length, number("clip_text", model, config, "hidden_size"))


def check_length(length: int, positions: int, who: str = "clip_text") -> None:
    """ConfigError unless the model has a position for every token; three is start, one word and end."""
    if not 3 <= length <= positions:
        raise ConfigError(f"{who}: length is {length} tokens, expected 3 to {positions}, the model's positions")
