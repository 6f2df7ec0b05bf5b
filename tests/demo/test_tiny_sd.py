"""The tiny model loads like Stable Diffusion, is the same each time, and its frozen halves keep what training needs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from demo.phrases import VOCABULARY
from demo.tiny_sd import WORDS, write_tiny_sd
from demo.tiny_words import END, START
from demo.world import COLOURS, SHAPES, Scene, Thing, draw_scene, render


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sd(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")


@pytest.fixture(scope="module")
def vae(folder: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder, subfolder="vae")


def latents(vae: AutoencoderKL, image: np.ndarray) -> np.ndarray:
    """Raw posterior mean, [h, w, 4]."""
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float() / 127.5 - 1  # [1, 3, H, W]
    with torch.no_grad():
        posterior: Any = vae.encode(pixels)
        return posterior.latent_dist.mean[0].permute(1, 2, 0).numpy()


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_leaves_random_state_alone(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert hashes(write_tiny_sd(tmp_path / "same")) == hashes(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_writes_other_weights(folder: Path, tmp_path: Path) -> None:
    ours, other = hashes(folder), hashes(write_tiny_sd(tmp_path, seed=1))
    changed = {name for name in ours if ours[name] != other[name]}
    assert changed == {name for name in ours if name.endswith(".safetensors")}


def test_the_folder_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20e6


def test_the_unet_has_the_blocks_and_strides_of_sd_v1(folder: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    assert unet.dtype == torch.float32
    shapes: list[tuple[int, ...]] = []
    for block in unet.up_blocks:
        block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        unet(torch.randn(1, 4, 16, 16), 1, encoder_hidden_states=torch.randn(1, 77, 64))
    assert shapes == [(128, 4, 4), (128, 8, 8), (64, 16, 16), (32, 16, 16)]
    assert len([name for name in unet.attn_processors if "attn2" in name]) == 16


@pytest.mark.parametrize("text", ["café ☕ 中", "banana 3 oclock", 'a "b" \\ {c}~', "it ' s t - shirt", "\x7f"])
def test_any_text_becomes_known_tokens_and_comes_back(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == [START, END]
    assert END not in tokenizer.convert_ids_to_tokens(ids[1:-1])
    assert str(tokenizer.decode(ids, skip_special_tokens=True)).replace(" ", "") == text.replace(" ", "")


def test_each_demo_word_is_one_token_in_any_case(tokenizer: CLIPTokenizer) -> None:
    for word in WORDS:
        assert tokenizer.convert_ids_to_tokens(tokenizer(word.upper())["input_ids"])[1:-1] == [word + "</w>"]


def test_padding_and_truncation_follow_clip(tokenizer: CLIPTokenizer) -> None:
    end = tokenizer.eos_token_id
    assert tokenizer.model_max_length == 77
    padded = tokenizer("red circle", padding="max_length", max_length=8)["input_ids"]
    assert padded[3:] == [end] * 5
    cut = tokenizer("red " * 50, padding="max_length", max_length=8, truncation=True)["input_ids"]
    assert len(cut) == 8
    assert cut[-1] == end


def test_text_states_tell_the_demo_words_apart(folder: Path, tokenizer: CLIPTokenizer) -> None:
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    tokens = torch.tensor([tokenizer(word)["input_ids"] for word in VOCABULARY])  # [words, 3]
    with torch.no_grad():
        states = encoder(tokens).last_hidden_state[:, 1]  # [words, 64]
    distances = torch.cdist(states, states) + 100 * torch.eye(len(states))
    assert distances.min() > 4  # states have norm 8


def test_a_linear_probe_reads_colours_from_latents(vae: AutoencoderKL) -> None:
    """Whole 8 x 8 patches of one colour; fitted on the first scenes, tested on the others."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for seed in range(24):
        scene = draw_scene(np.random.default_rng(seed))
        drawn = render(scene)
        value = np.zeros(drawn.labels.shape, dtype=int)
        for mask, thing in zip(drawn.masks, scene.things, strict=True):
            value[mask] = 1 + list(COLOURS).index(thing.colour)
        h, w = scene.height // 8, scene.width // 8
        patches = value[: h * 8, : w * 8].reshape(h, 8, w, 8).transpose(0, 2, 1, 3).reshape(h, w, 64)
        pure = (patches == patches[..., :1]).all(axis=-1) & (patches[..., 0] > 0)
        parts.append((latents(vae, drawn.image)[:h, :w][pure], patches[..., 0][pure] - 1))
    fit_x, fit_y = (np.concatenate(column) for column in zip(*parts[:16], strict=True))
    test_x, test_y = (np.concatenate(column) for column in zip(*parts[16:], strict=True))
    means = np.stack([fit_x[fit_y == colour].mean(axis=0) for colour in range(len(COLOURS))])  # [colours, 4]
    # Nearest mean, as the linear scores it is: unlike least squares it does not depend on how often a colour occurs.
    scores = test_x @ means.T - 0.5 * (means**2).sum(axis=1)
    assert (scores.argmax(axis=1) == test_y).mean() > 0.99


def test_latents_have_about_the_scale_of_sd(vae: AutoencoderKL) -> None:
    everything = np.concatenate(
        [latents(vae, render(draw_scene(np.random.default_rng(s))).image).ravel() for s in range(8)]
    )
    assert 1 < everything.std() < 5


def test_an_object_shows_in_the_latents_where_it_stands(vae: AutoencoderKL) -> None:
    def room(x: float) -> np.ndarray:
        own = Thing(SHAPES[0], "red", "big", x, 64.0, 20.0, 3.0)
        return render(Scene(128, 160, 140, 80, 90.0, 45.0, 5.0, (own,), None, (), 0)).image

    red_green = [latents(vae, room(x))[..., 1] for x in (40.0, 120.0)]
    columns = [int(np.abs(plane).sum(axis=0).argmax()) for plane in red_green]
    assert columns[0] in (4, 5)
    assert columns[1] in (14, 15)


def test_the_vae_takes_pictures_of_any_size_in_eights(vae: AutoencoderKL) -> None:
    assert latents(vae, np.zeros((120, 160, 3), np.uint8)).shape == (15, 20, 4)
