"""The network of `vit`: a view's pixels -> logits of its classes, or the state of its class token.

Owns loading, compute precision and the stored form; what the network is shown is `picture`'s. Shapes: B views of H x W
pixels, W numbers of each.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import ViTForImageClassification

from pipeline.encoders import VISION, Levels
from pipeline.encoders._arithmetic import float32_arithmetic
from pipeline.encoders._levels import PixelsOfLevels, host_array
from pipeline.encoders._loading import check_device, exact_facts, load_part, weights_sha256
from pipeline.encoders.vit.facts import Says, facts_of
from pipeline.encoders.vit.picture import FILE, Preparation, preparation_of
from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.geometry.view import Size
from shards.models.forms import Unfit, json_of
from shards.models.parts import ModelPart, find_part

_log = logging.getLogger(__name__)
_DTYPES = {"float32": torch.float32, "float16": torch.float16}
_PUBLISHED = {  # parts of names as newer versions of transformers have them, and as files do
    ".layers.": ".encoder.layer.",
    ".attention.q_proj.": ".attention.attention.query.",
    ".attention.k_proj.": ".attention.attention.key.",
    ".attention.v_proj.": ".attention.attention.value.",
    ".attention.o_proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}
_LAYOUT = ("hidden_act", "num_attention_heads", "layer_norm_eps", "patch_size", "qkv_bias")


class Vit:
    """A `pipeline.encoders.LevelEncoder`. `encode` gives "vision" float16 [B, W]."""

    def __init__(
        self,
        model: ViTForImageClassification,
        preparation: Preparation,
        *,
        says: Says,
        dtype: str,
        device: torch.device,
    ) -> None:
        config: Any = model.config
        self.facts = facts_of(int(config.num_labels if says == "logits" else config.hidden_size), says)
        unread = _unread(says)
        named = [
            (published_name(name), value) for name, value in model.named_parameters() if not name.startswith(unread)
        ]
        self.fingerprint: dict[str, Any] = {
            "encoder": "vit",
            "weights": weights_sha256(named),
            "layout": {
                **{name: getattr(config, name) for name in _LAYOUT},
                "says": says,
                "picture": preparation.to_json(),
            },
            "dtype": dtype,
        }
        self.exact = exact_facts(device)
        self._says, self._preparation, self._device = says, preparation, device
        self._pixels_of = PixelsOfLevels(device)
        module = cast(nn.Module, model)  # the decorator on transformers' own `to` hides its arguments from pyright
        self._model: Any = module.to(device, _DTYPES[dtype]).eval().requires_grad_(False)

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return self.facts.fields(size_px)

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return host_array(shape, torch.float32, self._device)

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        return host_array(shape, torch.uint8, self._device)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Pixels float32 [B, 3, H, W] in [-1, 1] -> float16 [B, W]; what does not fit is inf or NaN in its row."""
        return self._said(torch.from_numpy(pixels).to(self._device, non_blocking=True))

    @torch.inference_mode()
    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        """The same of levels, bit for bit."""
        return self._said(self._pixels_of(levels))

    def _said(self, pixels: torch.Tensor) -> dict[str, np.ndarray]:
        with float32_arithmetic(tf32=False):
            shown = self._preparation(pixels).to(self._model.dtype)  # [B, 3, h, w]
            vector = self._model(pixel_values=shown).logits if self._says == "logits" else self._state(shown)  # [B, W]
        return {VISION: vector.float().half().cpu().numpy()}

    def _state(self, shown: torch.Tensor) -> torch.Tensor:
        """Of the class token, as the last layer leaves it: what transformers keeps as the last hidden state is, by
        version, before or after the norm that follows."""
        kept: list[torch.Tensor] = []
        body = self._model.vit
        layers = body.encoder.layer if hasattr(body, "encoder") else body.layers

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            kept.append((output[0] if isinstance(output, tuple) else output)[:, 0])

        hook = layers[-1].register_forward_hook(keep)
        try:
            body(pixel_values=shown)
        finally:
            hook.remove()
        return kept[0]


def load(model: str, revision: str | None, *, says: Says, dtype: str, device: str) -> Vit:
    """The encoder; arguments as of `vit.build`. Raises ConfigError."""
    target = check_device("vit", device)
    network, report = load_part(
        "vit",
        model,
        "vit",
        ViTForImageClassification.from_pretrained,
        revision,
        dtype=torch.float32,
        output_loading_info=True,
    )
    absent = sorted(name for name in report["missing_keys"] if not name.startswith(_unread(says)))
    if absent:
        raise ConfigError(
            f"vit: {model!r} lacks {len(absent)} weights that are needed, such as {absent[0]}; expected a "
            "ViTForImageClassification, such as google/vit-base-patch16-224"
        )
    part = find_part("vit", model, "vit", revision, weights=False)
    preparation = preparation_of(_own_words(part), int(network.config.image_size), model)
    return Vit(network, preparation, says=says, dtype=dtype, device=target)


def published_name(name: str) -> str:
    """Of a weight, as in files: so a digest does not depend on the library's version."""
    for newer, older in _PUBLISHED.items():
        name = name.replace(newer, older)
    return name


def _unread(says: Says) -> tuple[str, ...]:
    """How the names of weights begin that do not matter for what is said."""
    return () if says == "logits" else ("classifier.", "vit.layernorm.")


def _own_words(part: ModelPart) -> Any:
    """Of a model's preparation; empty where it has no such file, which is said: a cache may hold a part of a model."""
    if not (part.folder / FILE).is_file():
        _log.warning(
            "vit: %s holds no %s; pictures are made by transformers' defaults (1/255, less 0.5, by 0.5)",
            part.folder, FILE,
        )  # fmt: skip
        return {}
    try:
        return json_of(FILE, partial(_read, part))
    except Unfit as error:
        raise part.unusable(error) from error


def _read(part: ModelPart, name: str) -> bytes:
    return (part.folder / name).read_bytes()
