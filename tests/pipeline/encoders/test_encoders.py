"""The encoders give what diffusers and transformers give, name their weights, and explain a load that failed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import Sequence
from transformers import CLIPTextModel, CLIPTokenizer

from pipeline.encoders import clip_text, sd_vae
from pipeline.encoders.clip_text.encoder import ClipText
from pipeline.encoders.clip_text.tokenizer import unusual_rules
from shards.errors import ConfigError
from tests.pipeline.tiny_model import write_model

PIXELS = np.random.default_rng(0).uniform(-1, 1, (3, 3, 48, 64)).astype(np.float32)
SENTENCES = ["Left ball", "the ball, on the left of the other one, which is far away", ""]


def posterior(folder: Path, pixels: np.ndarray) -> Any:
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae").eval()
    with torch.no_grad():
        return vae.encode(torch.from_numpy(pixels)).latent_dist


def test_latent_is_the_raw_posterior_mean(model_folder: Path) -> None:
    encoded = sd_vae.build(str(model_folder), logvar=True).encode(PIXELS)
    published = posterior(model_folder, PIXELS)
    assert {name: (array.dtype.name, array.shape) for name, array in encoded.items()} == {
        "latent": ("float16", (3, 4, 6, 8)),
        "logvar": ("float16", (3, 4, 6, 8)),
    }
    np.testing.assert_array_equal(encoded["latent"], published.mean.half().numpy())
    np.testing.assert_array_equal(encoded["logvar"], published.logvar.half().numpy())


def test_fields_describe_what_encode_returns(model_folder: Path) -> None:
    vae = sd_vae.build(str(model_folder))
    (latent,) = vae.fields((48, 64))
    assert (latent.name, latent.dtype, latent.shape, latent.axis) == ("latent", "float16", ("V", 4, 6, 8), "view")
    with pytest.raises(ConfigError, match="multiple of 8"):
        vae.fields((48, 60))


def test_float16_stays_close_and_an_overflowing_batch_is_redone_in_float32(model_folder: Path) -> None:
    half = sd_vae.build(str(model_folder), dtype="float16")
    exact = sd_vae.build(str(model_folder)).encode(PIXELS)["latent"]
    assert 0 < np.abs(half.encode(PIXELS)["latent"].astype(np.float32) - exact).max() < 0.02
    loud = PIXELS * np.float32(7e4)  # beyond float16 on entry, harmless after the first group norm in float32
    redone = half.encode(loud)["latent"]
    np.testing.assert_array_equal(redone, sd_vae.build(str(model_folder)).encode(loud)["latent"])
    assert np.isfinite(redone).all()


def test_a_latent_beyond_float16_spoils_its_own_row_only(model_folder: Path) -> None:
    pixels = PIXELS.copy()
    pixels[1, 0, 0, 0] = np.nan
    latent = sd_vae.build(str(model_folder)).encode(pixels)["latent"]
    assert [bool(np.isfinite(row).all()) for row in latent] == [True, False, True]


def test_the_decoder_is_not_kept(model_folder: Path) -> None:
    vae = sd_vae.build(str(model_folder))
    names = {name.split(".")[0] for name, _ in vae._exact.named_parameters()}
    assert names == {"encoder", "quant_conv"}


def test_encoding_leaves_global_switches_alone(model_folder: Path) -> None:
    cudnn: Any = torch.backends.cudnn
    before = (cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision, cudnn.benchmark)
    sd_vae.build(str(model_folder), tf32=False).encode(PIXELS)
    assert (cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision, cudnn.benchmark) == before


def test_text_states_and_tokens_are_those_of_the_plain_call(model_folder: Path) -> None:
    text = clip_text.build(str(model_folder), length=12)
    tokens = text.tokenize(SENTENCES)
    tokenizer = CLIPTokenizer.from_pretrained(model_folder / "tokenizer")
    plain = tokenizer(SENTENCES, padding="max_length", truncation=True, max_length=12, return_tensors="pt")
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, plain["input_ids"].numpy())
    model = CLIPTextModel.from_pretrained(model_folder / "text_encoder").eval()
    with torch.no_grad():
        states = model(input_ids=plain["input_ids"]).last_hidden_state.numpy()
    assert (text.length, text.width) == (12, 16)
    np.testing.assert_array_equal(text.encode(tokens), states)
    np.testing.assert_array_equal(text.encode_to_store(tokens), states.astype(np.float16))
    assert text.tokenize([]).shape == (0, 12)


def test_fingerprints_follow_the_weights_not_the_place(model_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "elsewhere")
    vae, text = sd_vae.build(str(model_folder)).fingerprint, clip_text.build(str(model_folder), length=12).fingerprint
    assert sd_vae.build(str(copy / "vae")).fingerprint == vae
    assert clip_text.build(str(copy / "text_encoder"), length=12).fingerprint == text
    assert str(model_folder) not in json.dumps([vae, text])

    weights = load_file(copy / "vae" / "diffusion_pytorch_model.safetensors")
    weights["decoder.conv_in.bias"] += 1
    save_file(weights, copy / "vae" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    assert sd_vae.build(str(copy)).fingerprint == vae, "the decoder does not matter"
    weights["quant_conv.bias"] += 1
    save_file(weights, copy / "vae" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    assert sd_vae.build(str(copy)).fingerprint["weights"] != vae["weights"]


def test_sentences_with_more_tokens_than_are_kept_are_counted(model_folder: Path) -> None:
    text = clip_text.build(str(model_folder), length=12)
    tokenizer = CLIPTokenizer.from_pretrained(model_folder / "tokenizer")
    sentences = [" ".join("a" * n) for n in range(1, 20)]
    expected = sum(len(tokenizer(sentence)["input_ids"]) > 12 for sentence in sentences)
    assert 0 < expected < len(sentences)
    assert text.cut(sentences) == expected

    assert text.tokenize(sentences).shape == (19, 12), "counting does not undo cutting"


def test_fingerprints_follow_arithmetic_and_tokenizer(model_folder: Path, tmp_path: Path) -> None:
    base = sd_vae.build(str(model_folder)).fingerprint
    assert sd_vae.build(str(model_folder), tf32=False).fingerprint == {**base, "tf32": False}
    assert sd_vae.build(str(model_folder), dtype="float16").fingerprint == {**base, "dtype": "float16", "tf32": False}
    copy = shutil.copytree(model_folder, tmp_path / "other")
    content = json.loads((copy / "tokenizer" / "tokenizer.json").read_text())
    content["model"]["merges"].pop()
    (copy / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    text, other = clip_text.build(str(model_folder), length=12), clip_text.build(str(copy), length=12)
    assert {name for name in text.fingerprint if text.fingerprint[name] != other.fingerprint[name]} == {"tokenizer"}


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "post_processor"])
def test_what_a_tokenizer_does_besides_its_merges_is_in_the_fingerprint(model_folder: Path, part: str) -> None:
    """Whatever the library made of the files: some versions read these rules from them, others have their own."""
    tokenizer = CLIPTokenizer.from_pretrained(model_folder / "tokenizer")
    model = CLIPTextModel.from_pretrained(model_folder / "text_encoder")

    def fingerprint() -> dict[str, Any]:
        return ClipText(tokenizer, model, length=12, dtype="float32", device=torch.device("cpu")).fingerprint

    usual, other = fingerprint(), {"normalizer": NFC(), "pre_tokenizer": ByteLevel(), "post_processor": Sequence([])}
    assert "tokenizer_rules" not in usual, "sets that were built before this was looked at stay what they are"
    setattr(tokenizer.backend_tokenizer, part, other[part])
    assert fingerprint() == {**usual, "tokenizer_rules": unusual_rules(tokenizer)}


def test_bfloat16_is_refused_with_the_reason(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="8 times the error"):
        sd_vae.build(str(model_folder), dtype="bfloat16")


@pytest.mark.parametrize("build", [sd_vae.build, clip_text.build])
def test_a_folder_without_the_part_is_one_clear_error(build: Any, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for model, reason in [("nowhere", "nothing is there"), ("file", "this is a file"), (".", "found file")]:
        with pytest.raises(ConfigError, match=f"no usable .*{reason}.*Expected a diffusers"):
            build(str(tmp_path / model))


def test_a_wrong_part_is_refused(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sd_vae"):
        sd_vae.build(str(model_folder / "text_encoder"))
    crossed = shutil.copytree(model_folder, tmp_path / "crossed")
    weights = load_file(crossed / "vae" / "diffusion_pytorch_model.safetensors")
    del weights["encoder.conv_in.weight"]
    save_file(weights, crossed / "vae" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="conv_in"):
        sd_vae.build(str(crossed))
    states = load_file(crossed / "text_encoder" / "model.safetensors")
    name = next(name for name in states if "final_layer_norm.weight" in name)
    del states[name]
    save_file(states, crossed / "text_encoder" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 text model weights, such as .*final_layer_norm"):
        clip_text.build(str(crossed), length=12)


def test_an_unreachable_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def unreachable(*args: object, **options: object) -> list[str]:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    for build in (sd_vae.build, clip_text.build):
        with pytest.raises(ConfigError, match=r"does not hold it, and the hub does not give it \(no route to host"):
            build("nobody/no-such-model")


def test_a_length_the_text_model_cannot_hold_is_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="length is 40 tokens, expected 3 to 20"):
        clip_text.build(str(model_folder))


def test_a_tokenizer_of_another_model_is_refused(model_folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path, seed=1)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(ConfigError, match="do not belong together"):
        clip_text.build(str(tmp_path), length=12)
