"""A frozen vision transformer: the plug-in `vit`, what it says of a view as a whole, as one vector.

Owns its settings. What is known without weights is `facts`', how a view becomes its picture `picture`'s, the network
`encoder`'s; the last two are imported when one is built. Sources: docs/methods/depth.md#ecodepth.
"""

from __future__ import annotations

from typing import Any, Literal

from pipeline.encoders import ImageEncoder, VisionFacts
from pipeline.encoders.vit.facts import Says, check_says, read_facts
from shards.errors import ConfigError
from shards.models.libraries import undisturbed

DTYPES = ("float32", "float16")


def build(
    model: str,
    revision: str | None = None,
    says: Says = "logits",
    dtype: Literal["float32", "float16"] = "float32",
    device: str = "cpu",
) -> ImageEncoder:
    """Load the network.

    Args:
        model: hub id or folder of a ViTForImageClassification, such as google/vit-base-patch16-224.
        revision: branch, tag or commit of a hub model.
        says: `logits` of its classes, or the `state` of its class token behind the last layer, before the final norm.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit.
    """
    check_says(says)
    if dtype not in DTYPES:
        raise ConfigError(f"vit: dtype is {dtype!r}, expected float32 or float16")
    with undisturbed():
        from pipeline.encoders.vit.encoder import load

    return load(model, revision, says=says, dtype=dtype, device=device)


def describe(model: str, revision: str | None = None, says: Says = "logits", **other: Any) -> VisionFacts:
    """What `config.json` says; other options of `build` change nothing here.

    Raises:
        ConfigError: no vision transformer there.
    """
    return read_facts(model, revision, says)
