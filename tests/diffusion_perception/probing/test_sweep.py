"""Sweeps over toy sets and marked pairs by one command: the table, what is computed again, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception.features.reading import Features
from diffusion_perception.probing.on_pairs import pck
from jobs import probe, program
from pipeline.encoders.sd_vae import decoder
from shards.contract.manifest import Manifest
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import CLASSES, TASKS, write_set
from vpd.features.matching import are_right, matches

LAYERS = "[mid_block, up_blocks.2]"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, sets of it, and pairs."""
    root = tmp_path_factory.mktemp("probed")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    _, weights = decoder(str(root / "model"))
    for task in ("seg", "depth"):
        for split in ("train", "val"):
            write_set(root / f"{task}-{split}", task, weights=weights)
    rng = np.random.default_rng(0)
    (root / "spair" / "JPEGImages" / "cat").mkdir(parents=True)
    (root / "spair" / "PairAnnotation" / "test").mkdir(parents=True)
    for name, size in (("a", (48, 64)), ("b", (56, 72))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(root / "spair/JPEGImages/cat" / f"{name}.jpg")
    for number, (one, other) in enumerate((("a", "b"), ("b", "a"))):
        sizes = {"a": [64, 48, 3], "b": [72, 56, 3]}
        pair = {"category": "cat", "src_imname": f"{one}.jpg", "trg_imname": f"{other}.jpg"}
        pair |= {"src_imsize": sizes[one], "trg_imsize": sizes[other], "trg_bndbox": [10, 10, 50, 40]}
        pair |= {"src_kps": [[20, 20], [30, 25], [40, 30]], "trg_kps": [[22, 20], [30, 28], [38, 33]]}
        path = root / "spair" / "PairAnnotation" / "test" / f"{number:06d}-{one}-{other}:cat.json"
        path.write_text(json.dumps(pair))
    return root


def words(world: Path, task: str, out: Path, *more: str) -> list[str]:
    options = {"seg": f"task={{name: seg, classes: {CLASSES}}}", "depth": f"task={TASKS['depth']}"}
    sets = (options[task], f"train={world}/{task}-train", f"test={world}/{task}-val")
    learning = (f"layers={LAYERS}", "steps=2", "batch_size=4", "device=cpu", f"out={out}")
    return [f"model={world}/model", *sets, *learning, *more]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "table.json").read_text())["rows"]


KNN = "probes={linear: {name: linear}, near: {name: knn, kept: 60}}"


def test_every_layer_timestep_prompt_and_probe_has_a_row(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe.run(words(world, "seg", tmp_path, KNN, "timesteps=[1, 261]", "prompts=['', a room]", "noise=ddpm"))
    rows = rows_of(tmp_path)
    asked = [(row["layer"], row["timestep"], row["prompt"], row["probe"]) for row in rows]
    assert len(set(asked)) == len(asked) == 2 * 2 * 2 * 2
    assert {(row["layer"], row["channels"], row["stride_px"][0]) for row in rows} == {
        ("mid_block", 32, 64.0),
        ("up_blocks.2", 32, 8.0),
    }
    assert all(0 <= row["scores"]["mIoU"] <= 1 for row in rows)
    printed, written = capsys.readouterr().out, (tmp_path / "table.txt").read_text()
    assert written in printed
    assert written.count(" *\n") == 1
    best = max(rows, key=lambda row: row["scores"]["mIoU"])
    starred = next(line for line in written.splitlines() if line.endswith(" *"))
    assert starred.split()[0] == best["layer"]


def test_a_wider_sweep_computes_what_is_missing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe.run(words(world, "seg", tmp_path))
    first = rows_of(tmp_path)
    probe.run(words(world, "seg", tmp_path, "timesteps=[50, 1]"))
    assert "2 trials, 1 finished before" in capsys.readouterr().out
    assert rows_of(tmp_path)[2:] == first
    probe.run(words(world, "seg", tmp_path, "timesteps=[50, 1]", "seed=1"))
    assert "2 trials, 0 finished before" in capsys.readouterr().out


def test_a_set_built_again_by_its_recipe_from_other_files_is_scored_again(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe.run(words(world, "seg", tmp_path / "out"))
    again = write_set(tmp_path / "seg-val", "seg", side=16, weights=decoder(str(world / "model"))[1])
    assert Manifest.load(again).fingerprint == Manifest.load(world / "seg-val").fingerprint
    probe.run(words(world, "seg", tmp_path / "out", f"test={again}"))
    assert capsys.readouterr().out.count("1 trials, 0 finished before") == 2


def test_a_layers_rows_do_not_depend_on_what_is_probed_beside_it(world: Path, tmp_path: Path) -> None:
    probe.run(words(world, "seg", tmp_path / "both", KNN))
    probe.run(words(world, "seg", tmp_path / "one", "layers=[up_blocks.2]", "probes={near: {name: knn, kept: 60}}"))
    both = [row for row in rows_of(tmp_path / "both") if (row["layer"], row["probe"]) == ("up_blocks.2", "near")]
    assert both == rows_of(tmp_path / "one")


def test_depth_is_probed_by_bins_and_by_one_number(world: Path, tmp_path: Path) -> None:
    direct = "probes={bins: {name: linear}, direct: {name: linear, bins: 0}, near: {name: knn, kept: 60}}"
    probe.run(words(world, "depth", tmp_path, direct, "limit=2"))
    found = {row["probe"]: row["scores"]["rmse"] for row in rows_of(tmp_path) if row["layer"] == "mid_block"}
    assert found["near"] == pytest.approx(0, abs=1e-5)  # all of the set is 2 m away
    assert len(set(found.values())) == 3


def test_pairs_are_matched_and_counted_as_the_library_does(world: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"timestep": 261, "noise": "ddpm", "posterior": "sample", "ensemble": 2}
    said = [f"{name}={value}" for name, value in options.items() if name != "timestep"]
    job = [f"model={world}/model", "pairs.name=spair", f"pairs.root={world}/spair", f"layers={LAYERS}"]
    probe.run([*job, *said, "timesteps=[261]", "prompts=['a {category}']", "size_px=[64, 64]", f"out={tmp_path}"])
    features = Features.from_pretrained(str(world / "model"), device="cpu")
    files = [f"{world}/spair/JPEGImages/cat/{name}.jpg" for name in "ab"]
    a, b = features(files, "a cat", size_px=(64, 64), layers=["up_blocks.2"], **options)["up_blocks.2"].values
    points, expected = torch.tensor([[20, 20], [30, 25], [40, 30]]), torch.tensor([[22, 20], [30, 28], [38, 33]])
    there = are_right(matches(a, b, points, (48, 64), (56, 72)), expected, (10, 10, 50, 40))
    back = are_right(matches(b, a, points, (56, 72), (48, 64)), expected, (10, 10, 50, 40))
    row = next(row for row in rows_of(tmp_path) if row["layer"] == "up_blocks.2")
    assert row["scores"]["PCK@0.1 image"] == pytest.approx((there.double().mean() + back.double().mean()).item() / 2)
    assert row["categories"]["cat"] == row["scores"]


def test_pck_per_image_is_the_mean_of_pairs_and_per_point_that_of_points() -> None:
    one, three = torch.ones(3, 1, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool)
    found = pck([one, three])
    assert (found["PCK@0.1 image"], found["PCK@0.1 point"]) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["layers=[up_blocks.9]"], "layer 'up_blocks.9' is none of"),
        (["task=refer"], "task refer cannot be probed"),
        (["probes.linear.lr=fast"], "setting 'probes.linear.lr'"),
        (["probes={linear: {name: liner}}"], "Did you mean 'linear'"),
        (["timesteps=[1, 1]"], "none twice"),
        (["test="], "give train= and test="),
        (["pairs.name=spair"], "say what is probed"),
        (["prompts=['a {category}']"], "prompt 'a {category}': nothing in braces is filled in for sets"),
        (["task={}", "pairs.name=spair", "prompts=['a {categry}']"], "only {category} stands for something"),
        (["batch_size=7"], "batch_size is 7, seg-train has 6 items"),
        (["workers=-1"], "workers is -1"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert program.status("jobs.probe", words(world, "seg", tmp_path, *more)) == 1
    assert said in capsys.readouterr().err


def test_a_set_of_another_vae_is_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path / "other", "seg", weights="cd")
    assert program.status("jobs.probe", [*words(world, "seg", tmp_path / "out"), f"test={tmp_path}/other"]) == 1
    assert "FingerprintMismatch: other holds latents of another VAE" in capsys.readouterr().err
