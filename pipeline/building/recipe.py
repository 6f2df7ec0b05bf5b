"""The settings of a build, the schema they lead to, and the recipe: everything that determines the bytes of a set.

The recipe is hashed into the set's fingerprint (`shards.contract.manifest`). How many threads work, how far they run
ahead and how many rejects are tolerated do not change a byte, so they are settings but not recipe. Batch sizes
are recipe: a GPU may choose another algorithm, with other rounding, for another batch shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.encoders import ImageEncoder, TextEncoder
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.manifest import fingerprint
from shards.contract.schema import Field, Schema
from shards.errors import ConfigError

TextMode = Literal["states", "tokens"]
TEXT_MODES = get_args(TextMode)
LabelForm = Literal["small", "quick"]
LABEL_FORMS = get_args(LabelForm)
LEAST_DECODE_THREADS = 4
# Options that older versions left out of a recipe: where one is absent there, nothing is known of it.
LATER = (("source", "images"), ("source", "depths"), ("text_encoder", "tokenizer_rules"))
_COUNTS = ("pairs", "pictures", "rows")  # of a source's files, beside the hashes
META_FIELD = Field("meta", "json", unit="items, views, sentences and what the source says about the image")


@dataclass(frozen=True)
class BuildSettings:
    """How a set is built."""

    records_per_shard: int = 512  # pictures of a shard
    text: TextMode = "states"  # states: CLIP states and token ids; tokens: ids only, and the trainer encodes them
    labels: LabelForm = "small"  # PNGs as the source has them; quick: cut 3 to 10 times as fast, depth 4 times as large
    image_batch: int = 16  # views encoded at once
    text_batch: int = 64  # texts encoded at once
    decode_threads: int = 0  # that read and render pictures; 0: two for each CPU of an actor, no fewer than 4
    decode_ahead: int = 32  # images decoded and resized before the encoder needs them, 0.8 MB each at 512 x 512
    max_rejects: float = 0.01  # share of a split's pictures, or of their entries, that may be left out

    def __post_init__(self) -> None:
        for name in ("records_per_shard", "image_batch", "text_batch", "decode_threads", "decode_ahead"):
            value, least = getattr(self, name), int(name != "decode_threads")
            if type(value) is not int or value < least:
                raise ConfigError(f"settings.{name} is {value!r}, expected a whole number of at least {least}")
        if self.text not in TEXT_MODES:
            raise ConfigError(f"settings.text is {self.text!r}, expected one of {', '.join(TEXT_MODES)}")
        if self.labels not in LABEL_FORMS:
            raise ConfigError(f"settings.labels is {self.labels!r}, expected one of {', '.join(LABEL_FORMS)}")
        if not 0 <= self.max_rejects <= 1:
            raise ConfigError(f"settings.max_rejects is {self.max_rejects!r}, expected a fraction from 0 to 1")

    @property
    def decoders(self) -> int:
        """Threads that decode, where nobody chose for a machine."""
        return self.decode_threads or LEAST_DECODE_THREADS


def text_fields(text: TextEncoder, settings: BuildSettings) -> tuple[Field, ...]:
    """Token ids always; states when they are stored. S sentences, one row each."""
    tokens = Field("tokens", "npy", "int32", ("S", text.length), "sentence", "token ids, padded")
    shape = ("S", text.length, text.width)
    states = Field(
        "text", "npy", "float16", shape, "sentence", "last hidden states after the final layer norm, no mask"
    )
    return (tokens, states) if settings.text == "states" else (tokens,)


def schema_of(
    source: Source, view_plan: ViewPlan, vae: ImageEncoder, text: TextEncoder | None, settings: BuildSettings
) -> Schema:
    """What a record of this build holds: tensors first, then the source's labels, meta last."""
    encoded = vae.fields(view_plan.size_px) + (text_fields(text, settings) if text is not None else ())
    return Schema((*encoded, *source.label_fields, META_FIELD), source.item_axis)


def recipe_of(
    source: Source,
    split: str,
    view_plan: ViewPlan,
    vae: ImageEncoder,
    text: TextEncoder | None,
    settings: BuildSettings,
    vision: ImageEncoder | None = None,
) -> dict[str, Any]:
    """The recipe as plain JSON. Two builds with equal recipes write equal bytes on the same kind of device; no path,
    no host name and no number of workers is part of it. On a CPU the same number of torch threads is needed too: torch
    splits a sum among them, and the last bit of a latent can differ. `vision` is what looks at the views beside the
    image encoder; `vae` then has the fields of both."""
    schema = schema_of(source, view_plan, vae, text, settings)
    return {
        "source": source.identity(split),
        "split": split,
        "views": view_plan.identity(),
        "image_encoder": {**vae.fingerprint, "batch": settings.image_batch},
        "text_encoder": None if text is None else {**text.fingerprint, "batch": settings.text_batch},
        **({} if vision is None else {"vision_encoder": {**vision.fingerprint, "batch": settings.image_batch}}),
        "text": None if text is None else settings.text,
        "records_per_shard": settings.records_per_shard,
        "fields": {field.member: f"{field.dtype} {list(field.shape)}".strip() for field in schema.fields},
        "item_axis": schema.item_axis,
        **({"labels": settings.labels} if settings.labels != "small" else {}),  # no older set's recipe says it
    }


def without_content(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what its source's files held: hashes (`sha256`, `..._sha256`) and their counts. What is left are
    choices, which nobody makes by editing a file."""
    source = recipe.get("source")
    if not isinstance(source, Mapping):
        return dict(recipe)
    kept = {name: value for name, value in source.items() if not name.endswith("sha256") and name not in _COUNTS}
    return {**recipe, "source": kept}


def as_far_as_known(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without those of `LATER` that another one, of an older version, says nothing of."""
    kept = dict(here)
    for part, name in LATER:
        mine, theirs = kept.get(part), there.get(part)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping) and name in mine and name not in theirs:
            kept[part] = {key: value for key, value in mine.items() if key != name}
    return kept


def shared_sha256(source: Source, split: str) -> str:
    """Hash of what all records of a split depend on: its identity, without the entries that follow from the files of
    single records."""
    single = getattr(source, "file_entries", ())
    shared = {name: value for name, value in source.identity(split).items() if name not in single}
    return fingerprint(shared)
