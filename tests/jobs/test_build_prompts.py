"""The prompt-table command, and tables outside a set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffusion_perception.prompt_tables import source_names
from jobs import build_prompts
from shards.contract.tables import load_table, save_table
from shards.errors import ConfigError, CorruptShard, IncompleteSet


def table(tiny_sd: Path, out: Path, *words: str) -> tuple[dict[str, np.ndarray], dict]:
    build_prompts.run([f"text.model={tiny_sd}", f"out={out}", *words])
    return load_table(out)


def test_names_from_the_line_a_text_file_and_a_json_file_give_the_same_table(tiny_sd: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# rooms\nwall\n\nfloor \n")
    (tmp_path / "names.json").write_text(json.dumps(["wall", "floor"]))
    tables = [
        table(tiny_sd, tmp_path / way, words)
        for way, words in (
            ("line", "names=[wall, floor]"),
            ("text", f"file={tmp_path}/names.txt"),
            ("json", f"file={tmp_path}/names.json"),
        )
    ]
    for arrays, info in tables:
        np.testing.assert_array_equal(arrays["embeddings"], tables[0][0]["embeddings"])
        assert info == tables[0][1]
    assert tables[0][0]["embeddings"].shape == (2, 64)
    assert tables[0][1]["names"] == ["wall", "floor"]
    assert len(tables[0][1]["templates"]) == 80
    assert tables[0][1]["text_encoder"]["length"] == 20


def test_templates_mode_and_length_are_settings(tiny_sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["names=[wall]", "prompts.mode=tokens", "prompts.templates=a photo of {}", "text.length=9"]
    arrays, info = table(tiny_sd, tmp_path / "t", *words)
    assert arrays["embeddings"].shape == (1, 9, 64)
    assert info["templates"] == ["a photo of {}"]
    assert "1 classes x 1 template(s), mode tokens: [1, 9, 64]" in capsys.readouterr().out


def test_a_source_brings_its_own_list(tiny_sd: Path, tmp_path: Path, world: Path) -> None:
    from pipeline.sources.nyuv2.source import CLASS_NAMES

    _, info = table(tiny_sd, tmp_path / "rooms", "source=nyuv2", "prompts.templates=name")
    assert info["names"] == list(CLASS_NAMES)  # known without the data
    own = {"name": "image_folders", "root": str(tmp_path), "classes": ["cup", "bed"]}
    assert source_names(own) == ["cup", "bed"]
    with pytest.raises(ConfigError, match="has no class names of its own"):
        source_names({"name": "refcoco", "root": str(world)})
    with pytest.raises(ConfigError, match=r"no module .*Did you mean 'refcoco'"):
        source_names({"name": "refcocoo"})


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "found none"),
        (["names=[a]", "file=x"], "found names and file"),
        (["file={tmp}/absent.txt"], r"absent\.txt: cannot be read"),
        (["file={tmp}/dict.json"], "holds dict; expected a JSON list"),
        (["names=[a]", "prompts.templates=a photo"], "needs the class name exactly once"),
        (["names=[a]", "prompts.mode=mean"], "one of pooled, tokens"),
    ],
)
def test_a_wrong_request_is_refused_before_a_model_is_loaded(words: list[str], match: str, tmp_path: Path) -> None:
    (tmp_path / "dict.json").write_text("{}")
    with pytest.raises(ConfigError, match=match):
        build_prompts.run(["out=x", "text.model=/absent", *(word.format(tmp=tmp_path) for word in words)])


def test_a_table_outside_a_set_is_found_by_any_of_its_names_and_checked(tmp_path: Path) -> None:
    arrays = {"embeddings": np.arange(6, dtype=np.float32).reshape(2, 3)}
    save_table(tmp_path / "rooms", arrays, {"names": ["a", "b"]})
    for name in ("rooms", "rooms.json", "rooms.safetensors"):
        loaded, info = load_table(f"{tmp_path}/{name}")
        np.testing.assert_array_equal(loaded["embeddings"], arrays["embeddings"])
        assert info == {"names": ["a", "b"]}
    with pytest.raises(IncompleteSet, match=r"no other\.safetensors in .*two files"):
        load_table(tmp_path / "other")
    (tmp_path / "rooms.safetensors").write_bytes(b"12345678{}")
    with pytest.raises(CorruptShard, match=r"rooms\.safetensors"):
        load_table(tmp_path / "rooms")
