"""Both sides load the same files by the same name, halves and `.bin` among them, and refuse them in the same words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.encoders import clip_text, sd_vae
from shards.errors import ConfigError
from shards.models.parts import find_part
from vpd.backbones.sd_unet.load import load_unet


def vae_weight(model: str) -> torch.Tensor:
    encoder: Any = sd_vae.build(model)
    return encoder._exact.state_dict()["encoder.conv_in.weight"]


def text_weight(model: str) -> torch.Tensor:
    encoder: Any = clip_text.build(model, length=8)
    return next(value for name, value in encoder._model.named_parameters() if "token_embedding" in name)


def unet_weight(model: str) -> torch.Tensor:
    return load_unet(model).state_dict()["conv_in.weight"]


LOADERS = {"vae": vae_weight, "text_encoder": text_weight, "unet": unet_weight}
Loader = Callable[[str], torch.Tensor]
each = pytest.mark.parametrize(("kind", "load"), LOADERS.items())


@pytest.fixture
def copy(tiny_sd: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_sd, tmp_path / "sd")


@each
def test_halves_are_loaded_where_there_is_nothing_else(
    kind: str, load: Loader, copy: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(copy.parent))
    full = load("~/sd")
    assert "only" not in caplog.text
    (file,) = find_part("test", str(copy), kind).weights
    half = {name: value.half() if value.is_floating_point() else value for name, value in load_file(file).items()}
    save_file(half, file.with_suffix(".fp16.safetensors"), {"format": "pt"})
    file.unlink()
    assert torch.equal(load("~/sd"), full.half().float())
    assert f"holds the {kind} in fp16 only" in caplog.text


def dump(content: Any, file: Path) -> None:
    """A bare pickle under the name of weights."""
    file.write_bytes(pickle.dumps(content, protocol=2))


@each
def test_bin_is_read_as_tensors_and_runs_no_code(kind: str, load: Loader, copy: Path) -> None:
    full = load(str(copy))
    (file,) = find_part("test", str(copy), kind).weights
    pickled = file.with_name("pytorch_model.bin" if kind == "text_encoder" else "diffusion_pytorch_model.bin")
    torch.save(load_file(file), pickled)
    file.unlink()
    assert torch.equal(load(str(copy)), full)

    class Code:
        def __reduce__(self) -> Any:
            return Path.touch, (copy / "ran",)

    for write in (torch.save, dump):
        write({"conv_in.weight": Code()}, pickled)
        with pytest.raises(ConfigError, match=rf"no usable {kind} in .*{pickled.name}\) does not load"):
            load(str(copy))
        assert not (copy / "ran").exists()


@each
@pytest.mark.parametrize("content", [b"", b"{}", b"version https://git-lfs.github.com/spec/v1"])
def test_a_damaged_file_is_named(kind: str, load: Loader, content: bytes, copy: Path) -> None:
    (file,) = find_part("test", str(copy), kind).weights
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"no usable {kind} in .*{file.name}\) does not load"):
        load(str(copy))


@each
@pytest.mark.parametrize("value", [None, "wide", [], -1, 1e400])
def test_an_odd_config_is_refused_in_the_same_form(kind: str, load: Loader, value: Any, copy: Path) -> None:
    file = copy / kind / "config.json"
    config = json.loads(file.read_text())
    config["hidden_size" if kind == "text_encoder" else "block_out_channels"] = value
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"no usable {kind} in .* does not load"):
        load(str(copy))
