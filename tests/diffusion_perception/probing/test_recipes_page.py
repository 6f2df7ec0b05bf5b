"""docs/recipes.md: every configuration it names runs on a small model, and its blocks do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from diffusion_perception.features.reading import Features
from jobs import probe
from tests.tiny_pipelines import tiny_pipeline

ROOT = Path(__file__).resolve().parents[3]
PAGE = next((ROOT / "docs").glob("recipes.*")).read_text()
RECIPES = sorted((ROOT / "configs" / "probe").glob("*.yaml"))
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of Stable Diffusion's shape, and one pair."""
    root = tmp_path_factory.mktemp("recipes")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    (root / "JPEGImages" / "cat").mkdir(parents=True)
    (root / "PairAnnotation" / "test").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    picture.save(root / "JPEGImages" / "cat" / "a.jpg")
    pair: dict[str, Any] = {"category": "cat", "src_imname": "a.jpg", "trg_imname": "a.jpg"}
    pair |= {"src_imsize": [64, 48, 3], "trg_imsize": [64, 48, 3], "trg_bndbox": [0, 0, 60, 40]}
    pair |= {"src_kps": [[20, 20], [40, 30]], "trg_kps": [[20, 20], [40, 30]]}
    (root / "PairAnnotation" / "test" / "0-a-a:cat.json").write_text(json.dumps(pair))
    return root


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_finds_a_picture_in_itself(recipe: Path, world: Path, tmp_path: Path) -> None:
    assert f"configs/probe/{recipe.name}" in PAGE
    words = [f"model={world}/model", f"pairs.root={world}", "size_px=[64, 64]", "device=cpu", f"out={tmp_path}"]
    probe.run([str(recipe), *words])
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert rows
    assert all(row["scores"]["PCK@0.1 point"] == 1 for row in rows if row["stride_px"][0] <= 8)


def test_cleandifts_weights_become_a_model_folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/sd21").symlink_to(world / "model")
    weights = {
        name: torch.full_like(values, 0.5)
        for name, values in tiny_pipeline("sd15", tmp_path / "words").unet.state_dict().items()
    }
    save_file(weights, "cleandift_sd21_unet.safetensors")
    exec(compile(BLOCKS["CleanDIFT"], "the page", "exec"), {})
    features = Features.from_pretrained("models/cleandift", device="cpu")
    assert all((values == 0.5).all() for values in features.network.state_dict().values())


def test_captions_are_prompts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.jpg").symlink_to(world / "JPEGImages" / "cat" / "a.jpg")
    Path("captions.json").write_text(json.dumps({"cat.jpg": "a cat on a sofa"}))
    small = Features.from_pretrained(str(world / "model"), device="cpu")
    monkeypatch.setattr(Features, "from_pretrained", lambda model: small)
    exec(compile(BLOCKS["TADP"].replace("(512, 512)", "(64, 64)"), "the page", "exec"), {})
    assert "'up_blocks.3': (1, 16, 8, 8)" in capsys.readouterr().out


def test_every_block_of_the_page_is_run() -> None:
    assert list(BLOCKS) == ["CleanDIFT", "TADP"]
    assert PAGE.count("```python") == len(BLOCKS)
