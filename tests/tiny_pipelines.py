"""Small random models of every family, as diffusers' own pipelines, made in a second and without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.byte_tokenizer import byte_tokenizer

VOCABULARY = 600
UNET: dict[str, Any] = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "norm_num_groups": 8}
CROSS, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, UP = "CrossAttnUpBlock2D", "UpBlock2D"
SD15 = UNET | {
    "layers_per_block": 2,
    "block_out_channels": (16, 32, 32, 32),
    "down_block_types": (CROSS, CROSS, CROSS, DOWN),
    "up_block_types": (UP, CROSS_UP, CROSS_UP, CROSS_UP),
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd15": SD15,
    "sd21": SD15 | {"attention_head_dim": (2, 4, 4, 4), "use_linear_projection": True},
    "bk_small": SD15 | {"layers_per_block": 1, "mid_block_type": None},
    "bk_tiny": UNET
    | {
        "layers_per_block": 1,
        "mid_block_type": None,
        "block_out_channels": (16, 32, 32),
        "down_block_types": (CROSS, CROSS, CROSS),
        "up_block_types": (CROSS_UP, CROSS_UP, CROSS_UP),
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
    },
    "sdxl": UNET
    | {
        "layers_per_block": 2,
        "block_out_channels": (16, 32, 32),
        "transformer_layers_per_block": (1, 2, 3),
        "down_block_types": (DOWN, CROSS, CROSS),
        "up_block_types": (CROSS_UP, CROSS_UP, UP),
        "cross_attention_dim": 64,
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,  # pooled text 32, and six sizes of 8
    },
}
FAMILIES = (*UNETS, "sd3", "pixart", "flux")


def tiny_pipeline(family: str, folder: Path) -> Any:
    """A pipeline of a family with seeded random weights; `folder` takes its tokenizer's files."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make = {"sdxl": _sdxl, "sd3": _sd3, "pixart": _pixart, "flux": _flux}.get(family)
        return make(folder) if make else _sd(family, folder)


def write_tiny_encoders(model: Path) -> None:
    """The frozen parts of the pipeline `sd15` into a model's folder: VAE, text encoder and tokenizer."""
    from transformers import CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _vae(4).save_pretrained(model / "vae")
        CLIPTextModel(_text(32)).save_pretrained(model / "text_encoder")
    byte_tokenizer(model / "tokenizer", VOCABULARY).save_pretrained(model / "tokenizer")


def _sd(family: str, folder: Path) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from transformers import CLIPTextModel

    return StableDiffusionPipeline(
        _vae(4),
        CLIPTextModel(_text(32)),
        byte_tokenizer(folder, VOCABULARY),
        UNet2DConditionModel(**UNETS[family]),
        _scheduler("v_prediction" if family == "sd21" else "epsilon"),
        None,  # pyright: ignore[reportArgumentType]
        None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )


def _sdxl(folder: Path) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = byte_tokenizer(folder, VOCABULARY)
    return StableDiffusionXLPipeline(
        _vae(4, scaling_factor=0.13025),
        CLIPTextModel(_text(32)),
        CLIPTextModelWithProjection(_text(32, projection_dim=32)),
        tokenizer,
        tokenizer,
        UNet2DConditionModel(**UNETS["sdxl"]),
        _scheduler("epsilon"),
        add_watermarker=False,
    )


def _sd3(folder: Path) -> Any:
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers import CLIPTextModelWithProjection

    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=24,
        pos_embed_max_size=24,
    )
    tokenizer = byte_tokenizer(folder, VOCABULARY)
    vae = _vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False)
    return StableDiffusion3Pipeline(
        transformer,
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae,
        CLIPTextModelWithProjection(_text(16, projection_dim=12)),
        tokenizer,
        CLIPTextModelWithProjection(_text(16, projection_dim=12)),
        tokenizer,
        None,  # pyright: ignore[reportArgumentType]
        None,  # pyright: ignore[reportArgumentType]
    )


def _pixart(folder: Path) -> Any:
    from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel
    from diffusers.pipelines.pixart_alpha.pipeline_pixart_sigma import PixArtSigmaPipeline

    transformer = PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=3,
        cross_attention_dim=32,
        sample_size=16,
        caption_channels=32,
    )
    words = byte_tokenizer(folder, VOCABULARY)
    return PixArtSigmaPipeline(words, _t5(), _vae(4, scaling_factor=0.13025), transformer, _scheduler("epsilon"))


def _flux(folder: Path) -> Any:
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers import CLIPTextModel

    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    words = byte_tokenizer(folder, VOCABULARY)
    vae = _vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return FluxPipeline(scheduler, vae, CLIPTextModel(_text(32)), words, _t5(), words, transformer)


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=VOCABULARY, d_model=32, d_ff=64, d_kv=8, num_layers=2, num_heads=4))


def _vae(channels: int, **options: Any) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "latent_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return AutoencoderKL(**(config | options))


def _text(width: int, **options: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 1,
        **options,
    )


def _scheduler(prediction: Any) -> Any:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction)
