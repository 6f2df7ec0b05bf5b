"""Probes on what was baked: the numbers of live features, beside them in one table, and which bakes are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffusion_perception.features.reading import Features
from jobs import features, probe, program
from pipeline.encoders.sd_vae import decoder
from shards.upkeep.splitting import split_set
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import CLASSES, TASKS, write_set

LAYERS = "[mid_block, up_blocks.2]"
ASKED = [f"layers={LAYERS}", "noise=ddpm", "device=cpu", "batch_size=4"]
BAKES: dict[str, list[str]] = {
    "whole": ["store=float32"],
    "half": [],
    "eighth": ["store=int8"],
    "float": ["store=float8_e4m3fn"],
    "few": ["pca=8", "store=float32"],
    "other": ["timestep=50"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, sets of it, that of training in three shards, and bakes of both."""
    root = tmp_path_factory.mktemp("baked-probes")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    _, weights = decoder(str(root / "model"))
    write_set(root / "unsplit", "seg", weights=weights)
    split_set(root / "unsplit", root, {"train": 1.0}, records_per_shard=2)
    for name, task in (("val", "seg"), ("depth-train", "depth"), ("depth-val", "depth")):
        write_set(root / name, task, weights=weights)
    for kind, more in BAKES.items():
        for part in ("train", "val"):
            known = f"pca_from={root}/few-train"
            bake(root, part, f"{kind}-{part}", *more, *([known] if (kind, part) == ("few", "val") else []))
    return root


def bake(root: Path, part: str, name: str, *more: str) -> None:
    said = [f"model={root}/model", f"set={root}/{part}", f"out={root}/{name}", "timestep=100", "prompt=a room"]
    features.run([*said, *ASKED, *more])


def words(world: Path, out: Path, *kinds: str) -> list[str]:
    task = f"task={{name: seg, classes: {CLASSES}}}"
    sets = [task, f"train={world}/train", f"test={world}/val", "timesteps=[100]", "prompts=[a room]"]
    sets += [f"baked.{kind}={{train: {world}/{kind}-train, test: {world}/{kind}-val}}" for kind in kinds]
    probes = "probes={linear: {name: linear, lr: 0.05}, near: {name: knn, kept: 60}}"
    return [*ASKED, *sets, probes, "steps=4", f"out={out}"]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "table.json").read_text())["rows"]


def test_baked_features_give_the_rows_of_live_ones(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe.run([*words(world, tmp_path, "whole", "half", "eighth", "float"), f"model={world}/model"])
    by_kind: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows_of(tmp_path):
        by_kind.setdefault(row["features"], {})[row["layer"], row["probe"]] = row
    live = by_kind["live"]
    assert set(by_kind) == {"live", "whole", "half", "eighth", "float"}
    assert len(live) == 4
    for kind, within in (("whole", 1e-6), ("half", 0.02), ("eighth", 0.05), ("float", 0.1)):
        for key, row in live.items():
            other = by_kind[kind][key]
            assert (other["channels"], other["stride_px"]) == (row["channels"], row["stride_px"])
            assert other["scores"] == pytest.approx(row["scores"], abs=within)
    assert by_kind["eighth"] != by_kind["half"]
    said = (tmp_path / "table.txt").read_text()
    assert said.splitlines()[0].split() == ["layer", "t", "prompt", "probe", "features", "channels", "stride", *list(
        live["mid_block", "near"]["scores"])]  # fmt: skip
    assert said in capsys.readouterr().out
    monkeypatch.setattr(Features, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    probe.run([*words(world, tmp_path / "alone", "whole"), "live=false"])
    assert rows_of(tmp_path / "alone") == list(by_kind["whole"].values())
    probe.run([*words(world, tmp_path / "alone", "whole", "half"), "live=false"])
    assert "2 trials, 1 finished before" in capsys.readouterr().out


def test_components_are_probed_as_they_are_stored(world: Path, tmp_path: Path) -> None:
    probe.run([*words(world, tmp_path, "few"), "live=false"])
    rows = rows_of(tmp_path)
    assert {(row["features"], row["channels"]) for row in rows} == {("few", 8)}
    assert all(0 <= row["scores"]["mIoU"] <= 1 for row in rows)


def test_depth_is_probed_from_a_bake(world: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        if not (world / f"deep-{part}").exists():
            bake(world, f"depth-{part}", f"deep-{part}", "store=float32")
    sets = [f"task={TASKS['depth']}", f"train={world}/depth-train", f"test={world}/depth-val"]
    probe.run([*words(world, tmp_path, "deep"), *sets, f"model={world}/model"])
    rows = rows_of(tmp_path)
    assert [row["scores"] for row in rows[:4]] == [pytest.approx(row["scores"], rel=1e-5, abs=1e-6) for row in rows[4:]]


@pytest.mark.parametrize(
    ("kinds", "more", "said"),
    [
        (["whole"], ["layers=[up_blocks.1]"], "whole-train lacks layer 'up_blocks.1'; it has mid_block, up_blocks.2"),
        (["other"], [], "other-train has timestep 50.0, asked for is 100.0"),
        (["whole"], ["prompts=['']"], "whole-train has prompt 'a room', asked for is ''"),
        (["whole"], ["seed=1"], "whole-train has seed 0, asked for is 1"),
        (["whole"], ["noise=none"], "whole-train has noise 'ddpm', asked for is 'none'"),
        (["whole"], ["test=TRAIN"], "whole-val was baked from val"),
        (["whole"], ["baked.whole.test=HALF"], "whole-train and half-val differ in store"),
        (["few"], ["baked.few.test=ALONE"], "differ in components"),
        (["whole"], ["baked.whole.train=SET"], "train is no set of features"),
        (["whole"], ["baked.whole={train: x}"], "expected train and test"),
        ([], [], "baked.NAME.train= and .test= where live is false"),
        (["whole"], ["live=true"], "model is empty"),
    ],
)
def test_what_does_not_belong_together_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kinds: list[str], more: list[str], said: str
) -> None:
    places = {"TRAIN": "train", "HALF": "half-val", "SET": "train", "ALONE": "few-alone"}
    if any("ALONE" in word for word in more):
        bake(world, "val", "few-alone", *BAKES["few"], "pca_records=2")
    told = [f"{word.partition('=')[0]}={world}/{places[word.partition('=')[2]]}" if word.partition("=")[2] in places
            else word for word in more]  # fmt: skip
    capsys.readouterr()
    assert program.status("jobs.probe", [*words(world, tmp_path, *kinds), "live=false", *told]) == 1
    assert said in capsys.readouterr().err


def test_a_bake_of_another_model_is_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_pipeline("sd21", tmp_path / "words").save_pretrained(tmp_path / "model")
    told = [*words(world, tmp_path / "out", "whole"), f"model={tmp_path}/model", "live=false"]
    assert program.status("jobs.probe", told) == 1
    assert "baked.whole: whole-train holds features of another model" in capsys.readouterr().err
