"""A saved model by its id on the hub, without a network: what is cached, and in which order files are fetched."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from diffusion_perception import hub
from diffusion_perception.zoo.encoders import PARTS


def test_a_fetch_that_was_interrupted_is_not_taken_for_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["README.md", "config.json", "model.safetensors", "text_encoder/model.safetensors", "vae/config.json"]
    asked: list[str] = []

    def fetch(name: str, wanted: list[str], revision: str | None = None) -> Path:
        for file in wanted:
            asked.append(file)
            if len(asked) == 3:
                raise KeyboardInterrupt
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        return tmp_path

    monkeypatch.setattr(hub, "cached_snapshot", lambda name, revision: tmp_path)
    monkeypatch.setattr(hub, "files_of", lambda name, revision: there)
    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(KeyboardInterrupt):
        hub.model_folder("somebody/depth")
    assert hub.model_folder("somebody/depth") == str(tmp_path)
    assert asked[3:] == ["text_encoder/model.safetensors", "vae/config.json", "config.json", "model.safetensors"]
    assert hub.model_folder("somebody/depth") == str(tmp_path)
    assert len(asked) == 7, "what is whole is not asked for again"


def test_every_part_that_publishing_copies_is_fetched_again_and_no_diffusion_network() -> None:
    def is_fetched(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in hub.FILES)

    for part in {part for parts in PARTS.values() for part in parts}:
        assert is_fetched(f"{part}/config.json"), part
    assert not is_fetched("unet/config.json")
    assert not is_fetched("unet/diffusion_pytorch_model.bin")
