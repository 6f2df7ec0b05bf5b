"""How long a sentence may be, said without weights."""

from __future__ import annotations

from shards.errors import ConfigError


def check_length(length: int, positions: int) -> None:
    """ConfigError unless the model has a position for every token; three is start, one word and end."""
    if not 3 <= length <= positions:
        raise ConfigError(f"clip_text: length is {length} tokens, expected 3 to {positions}, the model's positions")
