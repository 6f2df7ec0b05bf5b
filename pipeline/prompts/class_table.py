"""Class prompts: from names and templates to one table row a class, as class-prompted tasks feed the UNet.

Owns the wording (underscores become spaces), the mean over templates, and what a table says about itself. Published
room classes: pooled states, arithmetic mean over 80 templates, nothing normalised before or after, 20 tokens
(docs/methods/vpd.md#room-prompts). The text model is a `pipeline.encoders.TextEncoder`; storing is
`shards.contract.tables`'.

Shapes: C classes, P templates, L tokens, D numbers per token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.encoders import TextEncoder
from pipeline.prompts.templates import NAMED
from shards.errors import ConfigError

TABLE = "classes"  # name of the table in a shard set
LENGTH = 20  # tokens of a prompt, as published for room classes


@dataclass(frozen=True)
class PromptSettings:
    """How names become prompts and prompts become rows."""

    templates: str | tuple[str, ...] = "imagenet_80"  # a list's name, one template, or several; {} is the class name
    mode: Literal["pooled", "tokens"] = "pooled"  # pooled: a vector a class; tokens: all states of its one prompt


@dataclass(frozen=True)
class ClassTable:
    """What `shards.write_table` takes: arrays `{"embeddings": float32 [C, D] or [C, L, D]}` and a JSON-able info."""

    arrays: Mapping[str, np.ndarray]
    info: Mapping[str, Any]

    @property
    def full(self) -> list[str]:
        """Classes with a prompt that fills every position, and so may have been cut."""
        return list(self.info["full"])


def templates_of(settings: PromptSettings) -> tuple[str, ...]:
    """The templates that settings name.

    Raises:
        ConfigError: an unknown list, a template without exactly one `{}`, or several for token-level rows.
    """
    given = settings.templates
    if isinstance(given, str):
        given = NAMED.get(given, (given,))
    bad = [template for template in given if template.count("{}") != 1]
    if bad or not given:
        raise ConfigError(
            f"prompt templates: {bad[0] if bad else given!r} needs the class name exactly once, as in 'a photo of a "
            f"{{}}.'. Name a list ({', '.join(NAMED)}) or give templates of your own."
        )
    if settings.mode == "tokens" and len(given) > 1:
        raise ConfigError(
            f"prompts: mode 'tokens' keeps every token of ONE prompt, found {len(given)} templates: the tokens of "
            "different prompts do not line up, so their mean means nothing. Give one template, or mode 'pooled'."
        )
    return tuple(given)


def prompt(template: str, name: str) -> str:
    """The text of one prompt: `dining_room` is said as "dining room"."""
    return template.replace("{}", name.replace("_", " "))


def class_table(
    names: Sequence[str],
    encoder: TextEncoder,
    settings: PromptSettings | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClassTable:
    """Encode every class.

    Args:
        names: class names in the order of their ids. The empty text alone, `[""]`, is a table of the null prompt.
        encoder: its `length` cuts and pads each prompt.
        settings: default: pooled, mean over the 80 ImageNet templates.
        progress: called with the number of classes encoded so far and of all.

    Raises:
        ConfigError: no names, a name twice or empty, or templates that do not fit the mode.
    """
    settings = settings or PromptSettings()
    templates = templates_of(settings)
    _check_names(names)
    rows, full = [], []
    for name in names:  # one call a class: its row does not depend on which others are in the table
        tokens = encoder.tokenize([prompt(template, name) for template in templates])  # [P, L]
        if (tokens[:, -2] != tokens[:, -1]).any():  # a padded row ends in several end-of-text tokens
            full.append(name)
        if settings.mode == "pooled":
            rows.append(encoder.encode_pooled(tokens).mean(axis=0, dtype=np.float64))  # [D]
        else:
            rows.append(encoder.encode(tokens)[0])  # [L, D]
        progress(len(rows), len(names))
    info = {
        "names": list(names),
        "templates": list(templates),
        "mode": settings.mode,
        "text_encoder": encoder.fingerprint,
        "full": full,
    }
    return ClassTable({"embeddings": np.stack(rows).astype(np.float32)}, info)


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if list(names) != [""] and (not names or twice or not all(name.strip() for name in names)):
        found = f"{twice[0]!r} more than once" if twice else "an empty name" if names else "no names"
        raise ConfigError(f"class names: found {found}; expected a list of different names, in the order of their ids.")
