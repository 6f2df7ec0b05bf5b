"""Containers: what is read, and what is refused without running a line of it."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shards.errors import ConfigError
from vpd.exchange.importing.files import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(3.0), "b": torch.ones(2, 2).half()}


class Trap:
    """Leaves a folder behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def written(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("wrap", ["state_dict", "model", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_wherever_training_code_puts_them(wrap: str, zipped: bool, tmp_path: Path) -> None:
    content = {wrap: WEIGHTS, "epoch": 3} if wrap else WEIGHTS
    path = written(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped)
    file = read_checkpoint(path)
    assert {name: tensor.dtype for name, tensor in file.weights.items()} == {
        "a.weight": torch.float32,
        "b": torch.float16,
    }
    assert torch.equal(file.weights["a.weight"], WEIGHTS["a.weight"])
    assert dict(file.beside) == ({"epoch": 3} if wrap else {})


def test_safetensors_are_read_and_the_prefix_of_distributed_training_is_dropped(tmp_path: Path) -> None:
    save_file({f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, tmp_path / "x.safetensors")
    assert list(read_checkpoint(tmp_path / "x.safetensors").weights) == list(WEIGHTS)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_command_line_object_is_refused_unless_asked_for_and_then_only_a_record(zipped: bool, tmp_path: Path) -> None:
    content = {"model": WEIGHTS, "args": argparse.Namespace(img_size=480, lr=1e-4)}
    path = written(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConfigError, match=r"objects of argparse\.Namespace.*--allow-namespace"):
        read_checkpoint(path)
    args = read_checkpoint(path, allow_namespace=True).beside["args"]
    assert not isinstance(args, argparse.Namespace)
    assert vars(args) == {"img_size": 480, "lr": 1e-4}
    with pytest.raises(ConfigError, match=r"argparse\.Namespace"):
        read_checkpoint(path)  # the leave ends with the call


@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_objects_are_named_and_never_run(zipped: bool, tmp_path: Path) -> None:
    content = {"model": WEIGHTS, "args": argparse.Namespace(a=1), "hook": Trap(tmp_path / "sprung")}
    path = written(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped)
    for allowed in (False, True):
        with pytest.raises(ConfigError, match=r"holds objects of .*not only tensors") as error:
            read_checkpoint(path, allow_namespace=allowed)
        assert not allowed or "posix.mkdir" in str(error.value)
    assert not (tmp_path / "sprung").exists()


def test_numpy_values_are_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pth", {"state_dict": WEIGHTS, "best": np.float64(3)})
    with pytest.raises(ConfigError, match=r"numpy.*Use a \.safetensors release"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
@pytest.mark.parametrize("kept", [0, 20, 0.5, 0.99])
def test_a_file_cut_short_is_one_clear_error(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    weights = {"w": torch.randn(64, 64)}
    save_file(weights, path) if suffix == "safetensors" else torch.save({"state_dict": weights}, path)
    payload = path.read_bytes()
    path.write_bytes(payload[: int(kept * len(payload)) if kept < 1 else int(kept)])
    with pytest.raises(ConfigError, match=r"x\.(ckpt|safetensors): cannot be read.*get it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><title>404</title>", r"begins with b'<!DOCTYPE html"),
        (b"version https://git-lfs.github.com/spec/v1", r"begins with b'version https"),
        (pickle.dumps({"a": 1}), "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_shows_how_it_begins(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=match):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_missing_file_and_one_without_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"holds no weights; found the entries \['epoch'\]"):
        read_checkpoint(written(tmp_path / "x.ckpt", {"epoch": 3}))
    with pytest.raises(ConfigError, match="holds one Tensor"):
        read_checkpoint(written(tmp_path / "y.ckpt", torch.ones(2)))
