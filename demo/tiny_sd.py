"""A tiny model in the form of Stable Diffusion v1, made on the spot: no download, seconds, the same bytes each time.

Owns the folder `write_tiny_sd` makes: model_index.json, unet, vae, text_encoder, tokenizer, scheduler, as diffusers
and transformers read them. Block types, strides, tap points and tokenizer rules are those of SD v1.5
(docs/methods/vpd.md#components), widths a tenth.

The U-Net is plain random initialisation, as tests train it; the demo starts from what `demo.pretrain` made of the rest.
The VAE and the text encoder stay frozen here, so random is not enough for them:
  vae           brightness, red-green, blue-yellow and an edge signal of each 8 x 8 patch, plus a little noise from the
                random residual branches. Signals travel as a pair (x, -x), because silu(x) - silu(-x) = x lets them
                pass the last activation unchanged; a constant pair keeps the group norm from rescaling by contrast.
  text_encoder  the demo's words are orthogonal to each other, large embeddings keep each word visible in its own state,
                and one layer gathers the words into the states that follow, so that padding carries the sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging

from demo.phrases import VOCABULARY
from demo.tiny_words import END, POSITIONS, START, write_tokenizer

TEXT_WIDTH = 64
WIDTHS = (32, 64, 128, 128)  # of the U-Net: those of SD v1.5 are (320, 640, 1280, 1280)
LAYERS = 2  # of each block of the U-Net, as in SD v1.5
# class names of the depth and segmentation demos, so that their prompts are words too
WORDS = (*VOCABULARY, "a", "photo", "of", "wall", "floor", "pole", "pebbles", "room")


def write_tiny_sd(folder: str | Path, seed: int = 0, widths: tuple[int, ...] = WIDTHS, layers: int = LAYERS) -> Path:
    """Writes the model folder and returns it. The caller's random state is left as it was.

    Args:
        widths: channels of the U-Net's four levels, multiples of 8.
        layers: of each of its blocks.
    """
    folder = Path(folder)
    vocabulary = write_tokenizer(folder / "tokenizer", WORDS)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        # Half precision on disk halves the folder; diffusers and our importers load it as float32.
        _unet(widths, layers).half().save_pretrained(folder / "unet")
        new_vae().save_pretrained(folder / "vae")
        with no_bars():
            new_text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    write_pipeline_index(folder)
    return folder


def write_pipeline_index(folder: Path) -> None:
    """What makes the parts in a folder a pipeline for diffusers: the scheduler of SD v1 and model_index.json."""
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


@contextmanager
def no_bars() -> Iterator[None]:
    """Writing a file of 1 MB needs no progress bar; whatever the caller had configured is put back."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _unet(widths: tuple[int, ...], layers: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,  # the number of heads: diffusers keeps SD v1's misnomer
        norm_num_groups=8,
    )


@torch.no_grad()
def new_vae() -> AutoencoderKL:
    """Its encoder as the module says; its decoder random."""
    config: dict[str, Any] = {
        "block_out_channels": (16, 32, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "norm_num_groups": 1,
        "latent_channels": 4,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    }
    vae = AutoencoderKL(**config)
    weights = dict(vae.named_parameters())
    for name, weight in weights.items():
        if not name.startswith("encoder."):
            continue
        if name.endswith(("conv2.weight", "to_out.0.weight")):
            weight.mul_(0.1)  # the end of a residual branch: what it adds is the noise
        elif name.endswith("conv_shortcut.weight"):
            _pass_through(weight)
        elif name.endswith((".conv.weight", ".conv.bias", "conv2.bias", "to_out.0.bias", "conv_shortcut.bias")):
            weight.zero_()  # .conv are the three downsamplers
    for layer in ("encoder.conv_in", "encoder.conv_out", "quant_conv"):
        weights[layer + ".weight"].zero_()
        weights[layer + ".bias"].zero_()

    # [signal, RGB]: brightness, red-green, blue-yellow, orthogonal to each other
    opponent = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    for signal, row in enumerate(opponent):
        weights["encoder.conv_in.weight"][2 * signal, :, 1, 1] = row / row.norm()
        weights["encoder.conv_in.weight"][2 * signal + 1, :, 1, 1] = -row / row.norm()
    weights["encoder.conv_in.bias"][8:10] = torch.tensor([4.0, -4.0])

    shrinks = [weights[f"encoder.down_blocks.{level}.downsamplers.0.conv.weight"] for level in range(3)]
    for shrink in shrinks:
        for channel in range(len(shrink)):
            shrink[channel, channel, :2, :2] = 0.25  # mean of the 2 x 2 pixels under the stride
    left_right = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    edge = 0.8 * left_right + 0.6 * left_right.T
    for channel, sign in ((6, 1.0), (7, -1.0)):  # of brightness, across the halves of a patch
        shrinks[-1][channel] = 0.0
        shrinks[-1][channel, 0, :2, :2] = sign * edge

    for signal, gain in enumerate((5.0, 10.0, 10.0, 6.0)):
        weights["encoder.conv_out.weight"][signal, 2 * signal, 1, 1] = gain
        weights["encoder.conv_out.weight"][signal, 2 * signal + 1, 1, 1] = -gain
    _pass_through(weights["quant_conv.weight"][:4])
    weights["quant_conv.bias"][4:] = -8.0  # log variance
    return vae


@torch.no_grad()
def new_text_encoder(vocabulary: Mapping[str, int], words: Sequence[str] = WORDS) -> CLIPTextModel:
    """Of random weights but for what the module says; `words` are those of `vocabulary` that are one token each."""
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        hidden_act="quick_gelu",
        bos_token_id=vocabulary[START],
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[END],
    )
    model = CLIPTextModel(config).eval()
    # rows of a Hadamard matrix: entries of size 1, orthogonal, exact on every machine
    hadamard = torch.ones(1, 1)
    while len(hadamard) < TEXT_WIDTH:
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
    parameters = dict(model.named_parameters())
    tokens = _named(parameters, "token_embedding.weight")  # [tokens, 64]
    tokens.normal_()
    # Row 0 is constant, and the layer norm would take it for no word at all.
    for row, word in enumerate(words, start=1):
        tokens[vocabulary[word + "</w>"]] = hadamard[row]
    mark = hadamard[-1]
    tokens[[vocabulary[START], vocabulary[END]]] = mark
    _named(parameters, "position_embedding.weight").normal_(std=0.2)

    # Layer 0 attends evenly to all words so far and to no start or end token: their mark gives a low score.
    first = "layers.0.self_attn."
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        _named(parameters, first + name + ".weight").zero_()
        _named(parameters, first + name + ".bias").zero_()
    _named(parameters, first + "q_proj.bias").fill_(1.0)
    _named(parameters, first + "k_proj.weight").copy_(-4 * mark.expand(TEXT_WIDTH, -1) / TEXT_WIDTH)
    _named(parameters, first + "v_proj.weight").copy_(torch.eye(TEXT_WIDTH))
    _named(parameters, first + "out_proj.weight").copy_(2 * torch.eye(TEXT_WIDTH))
    return model


def _named(parameters: Mapping[str, Tensor], ending: str) -> Tensor:
    return next(value for name, value in parameters.items() if name.endswith(ending))


def _pass_through(weight: Tensor) -> None:
    """1 x 1 convolution weights [out, in, 1, 1]: input channels keep their place, further outputs are 0."""
    weight.zero_()
    count = min(weight.shape[:2])
    weight[range(count), range(count), 0, 0] = 1.0
