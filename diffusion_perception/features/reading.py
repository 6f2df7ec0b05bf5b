"""`Features`: what a frozen diffusion model sees in pictures. Any layer, of every family in `vpd.features.families`.

    features = Features.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
    seen = features(["cat.jpg"], "a photo of a cat", layers=["up_blocks.1"], timestep=261, noise="ddpm", ensemble=8)
    seen["up_blocks.1"].values  # [B, C, h, w]

Owns prompts, batches and the mean over an ensemble. Text and latents are computed by diffusers' own pipeline of the
model, unchanged; how pictures become latents is `latents`' beside this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from diffusion_perception import plugins
from diffusion_perception.devices import chosen_device
from diffusion_perception.features.latents import Noise, Posterior, latents_of, pixels_of, with_noise
from diffusion_perception.features.seen import FeatureMap, Seen
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vpd.features.attention import AttentionMaps
    from vpd.features.families import Family

Attention = Literal["", "cross", "self"]


class Features:
    """Features of pictures by a frozen model.

    Args:
        pipeline: a diffusers pipeline of text to picture; frozen, otherwise taken as it is.

    Raises:
        ConfigError: a pipeline of a family that `vpd.features.families` has no module for.
    """

    def __init__(self, pipeline: Any) -> None:
        from vpd.features.families import module_name

        self.pipeline = pipeline
        name = {"name": module_name(type(pipeline).__name__)}
        self.family: Family = plugins.build_plugin(plugins.FAMILIES, name, "the model's family", pipeline)
        self.network = self.family.network
        for part in pipeline.components.values():
            if hasattr(part, "requires_grad_"):  # networks; one that was made and not loaded would drop values out
                part.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, model: str, *, revision: str | None = None, device: str = "", dtype: str = "float32"
    ) -> Features:
        """Of a diffusers folder or a hub id.

        Args:
            device: such as `cuda`; empty: a GPU if there is one.
            dtype: of the weights: `float32`, `float16` or `bfloat16`.

        Raises:
            ConfigError: no model there, or one that does not load, or of an unknown family.
        """
        from vpd.features.models import load_pipeline

        return cls(load_pipeline(model, revision, dtype).to(chosen_device(device)))

    def layers(self) -> list[str]:
        """The names of the network's blocks; every module inside them can be read, too, by its name."""
        from vpd.features.taps import blocks_of

        return blocks_of(self.network)

    def shift_and_scale(self, latent_scale: float | None = None) -> tuple[float, float]:
        """What is taken off raw latents, and what they are multiplied with then: the model's own for None."""
        config = self.pipeline.vae.config
        scale = config["scaling_factor"] if latent_scale is None else latent_scale
        return float(config.get("shift_factor") or 0.0), float(scale)

    def __call__(
        self,
        pictures: Sequence[Any] | torch.Tensor | None = None,
        prompts: str | Sequence[str] = "",
        *,
        layers: Sequence[str] = (),
        timestep: float = 1,
        noise: Noise | torch.Tensor = "none",
        posterior: Posterior | torch.Tensor = "mode",
        ensemble: int = 1,
        seed: int = 0,
        attention: Attention = "",
        size_px: tuple[int, int] | None = None,
        latents: torch.Tensor | None = None,
        latent_scale: float | None = None,
        batch_size: int = 8,
    ) -> Seen:
        """Features of pictures of one size.

        Args:
            pictures: files, PIL images, uint8 `[H, W, 3]`, or a float tensor `[B, 3, H, W]` in -1..1.
            prompts: one for all pictures, or one each.
            layers: of the network, by name; what lies behind the last of them is not computed.
            timestep: that the network is told, and whose noise is added.
            noise: `none`: the network sees the clean latent; `ddpm`: noise as in training, drawn from `seed`, the same
                for every picture of a size; or the noise itself, `[ensemble, C, h, w]`.
            posterior: the VAE's `mode`, or a `sample` drawn from `seed`; or the normal numbers for one.
            ensemble: passes of a picture, each with noise of its own, averaged.
            attention: also keep the probabilities of `cross`-attention (over words) or `self`-attention.
            size_px: (height, width) that pictures are resized to, whatever their aspect; None: as they are.
            latents: instead of pictures, `[B, C, h, w]` as a set stores them: unscaled.
            latent_scale: that raw latents are multiplied with, such as 1 for VPD; None: the model's own.
            batch_size: passes of the network at once.

        Raises:
            ConfigError: pictures of several sizes, a layer that is not there, numbers that do not go together.
            Reject: a picture that cannot be read.
        """
        import torch

        if (pictures is None) == (latents is None):
            raise ConfigError("give either pictures or latents.")
        if not layers and not attention:
            raise ConfigError(f"name layers to read, such as {self.layers()[-1]!r}, or ask for attention.")
        vae = self.pipeline.vae
        with torch.no_grad():
            if latents is None:
                pixels = pixels_of(pictures, size_px, next(vae.parameters()))  # [B, 3, H, W]
                raw = latents_of(vae, pixels, posterior, ensemble, seed, batch_size)  # [B, E, C, h, w]
                shown_px = pixels.shape[-2], pixels.shape[-1]
            else:
                raw = latents.to(vae.device)[:, None].expand(-1, ensemble, -1, -1, -1)
                stride_px = 2 ** (len(vae.config["block_out_channels"]) - 1)
                shown_px = latents.shape[-2] * stride_px, latents.shape[-1] * stride_px
            shift, scale = self.shift_and_scale(latent_scale)
            clean = (raw.float() - shift) * scale
            inputs = with_noise(self.family, clean, noise, timestep, seed)
            texts = [prompts] * len(inputs) if isinstance(prompts, str) else list(prompts)
            if len(texts) != len(inputs):
                raise ConfigError(f"{len(texts)} prompts for {len(inputs)} pictures: give one, or one each.")
            maps, kept = self._read(inputs, texts, layers, timestep, attention, shown_px, batch_size)
        found = {
            name: FeatureMap(values, (shown_px[0] / values.shape[-2], shown_px[1] / values.shape[-1]))
            for name, values in maps.items()
        }
        words = tuple(self._words(text)[: kept.n_tokens] for text in texts) if kept and attention == "cross" else ()
        return Seen(found, clean.mean(1), kept, words)

    def _read(
        self,
        inputs: torch.Tensor,
        texts: Sequence[str],
        layers: Sequence[str],
        timestep: float,
        attention: Attention,
        shown_px: tuple[int, int],
        batch_size: int,
    ) -> tuple[dict[str, torch.Tensor], AttentionMaps | None]:
        """Feature maps `[B, C, h, w]` and attention, each the mean over an ensemble of inputs `[B, E, C, h, w]`."""
        import torch

        from vpd.features import taps
        from vpd.features.attention import AttentionMaps, Watching

        chosen = taps.layers_of(self.network, layers)
        distinct = list(dict.fromkeys(texts))  # a text is encoded once
        conditions = self.family.conditions(distinct, shown_px)
        owner = torch.tensor([distinct.index(text) for text in texts], device=inputs.device)
        rows = owner.repeat_interleave(inputs.shape[1]).split(batch_size)
        parts = inputs.flatten(0, 1).to(self.network.dtype).split(batch_size)  # of [B E, C, h, w]
        outputs: list[dict[str, torch.Tensor]] = []
        watched: list[AttentionMaps] = []
        for part, owners in zip(parts, rows, strict=True):
            given = {name: values[owners] for name, values in conditions.items()}
            run = partial(self.family.run, part, timestep, given)
            if attention:
                family = self.family
                ending = family.cross_attention if attention == "cross" else family.self_attention
                with Watching(self.network, ending) as watching:
                    found = taps.read(chosen, run, whole=True)
                watched.append(watching.shaped(part))
            else:
                found = taps.read(chosen, run)
            as_map = self.family.as_map
            outputs.append({name: as_map(chosen[name], output, part).float() for name, output in found.items()})

        def mean(values: list[torch.Tensor]) -> torch.Tensor:
            return torch.cat(values).unflatten(0, inputs.shape[:2]).mean(1)

        maps = {name: mean([output[name] for output in outputs]) for name in chosen}
        return maps, AttentionMaps.joined(watched, mean) if watched else None

    def _words(self, text: str) -> tuple[str, ...]:
        tokenizer = self.pipeline.tokenizer
        return tuple(tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]))
