"""The card of a published model: what the hub reads of its header, and what it says to people; and the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from PIL import Image
from test_published_models import PICTURE

from diffusion_perception.zoo.card import CARD, card
from diffusion_perception.zoo.job import PublishJob
from diffusion_perception.zoo.record import read_record, without_places
from jobs import predict, publish
from shards.errors import ConfigError
from vpd.exchange.pretrained import read_blueprint

RunOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(run_of: RunOf, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the command makes of two runs."""
    out = tmp_path_factory.mktemp("published")
    for kind in ("refer", "meta_depth"):
        publish.run([f"run={run_of(kind)}", f"out={out / kind}", "title=A trained model", "checkpoint=last"])
    return {kind: out / kind for kind in ("refer", "meta_depth")}


def test_the_hub_reads_tasks_data_metrics_and_results(folders: dict[str, Path]) -> None:
    read = huggingface_hub.ModelCard.load(folders["meta_depth"] / "README.md")
    data = read.data
    assert (data.pipeline_tag, data.library_name, data.license) == ("depth-estimation", "diffusion-perception", "other")
    assert data.datasets == ["nyuv2"]
    assert {"meta-prompts", "depth-estimation"} <= set(data.tags or ())
    assert data.metrics == ["rmse"]
    results = {result.dataset_name: result for result in data.eval_results or ()}
    assert set(results) == {"toy-val", "toy-test"}
    assert (results["toy-test"].metric_value, results["toy-test"].dataset_type) == (0.625, "nyuv2")
    assert results["toy-test"].dataset_args == {"fingerprint": "cd" * 32}
    assert results["toy-val"].dataset_args is None, "the set is on no disk here"
    refer = huggingface_hub.ModelCard.load(folders["refer"] / "README.md").data
    assert refer.pipeline_tag == "image-segmentation"
    assert "vpd" in (refer.tags or ())


def test_people_read_recipe_scores_environment_and_terms(folders: dict[str, Path]) -> None:
    text = (folders["meta_depth"] / "README.md").read_text()
    assert "Meta Prompts, 5 learned prompts and 2 passes of Stable Diffusion's UNet" in text
    assert "Run `meta_depth-run`, 40 steps of 32 samples on the set `toy-train` (fingerprint `abababababab`)" in text
    assert "The weights are the moving average of those that learned" in text
    assert "| toy-test | `cdcdcdcdcdcd` |" in text
    assert "device cpu, torch 2.13.0" in text
    assert "Trained on NYU Depth V2, whose terms are: " in text
    assert "whose licence holds for these weights, too" in text
    assert "low-rank additions of rank 16, which are merged" in (folders["refer"] / "README.md").read_text()


def test_scores_on_some_records_are_said_to_be_so(run_of: RunOf, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_of("depth"), tmp_path / "run"))
    (file,) = run.glob("evaluation-step-*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "limit": 7}))
    publish.run([f"run={run}", f"out={tmp_path / 'made'}"])
    record = read_record(tmp_path / "made")
    assert record is not None
    (score,) = (score for score in record.scores if score.set == "toy-test")
    assert (score.whole, score.fingerprint) == (False, "")
    assert "| toy-test, a part of it | not known |" in (tmp_path / "made" / CARD).read_text()


def test_a_base_whose_licence_is_known_is_named_with_what_it_asks(folders: dict[str, Path]) -> None:
    record, blueprint = read_record(folders["refer"]), read_blueprint(folders["refer"])
    assert record is not None
    base = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    text = card("x", PublishJob(run="r", out="hf://me/x"), blueprint, replace(record, base=base), 10**6)
    data = huggingface_hub.ModelCard(text).data
    assert (data.license, data.base_model) == ("creativeml-openrail-m", base)
    assert "use restrictions (paragraphs 4 and 5, attachment A)" in text
    assert 'Predictor.from_pretrained("me/x")' in text
    text = card("x", PublishJob(run="r", out="x", license="mit"), blueprint, record, 10**6)
    assert huggingface_hub.ModelCard(text).data.license == "mit"


def test_what_a_machine_calls_its_folders_is_told_to_nobody() -> None:
    given = {"a": "/home/me/sets/train", "b": ["s3://bucket/secret/val", "owner/name"], "c": {"d": "~/x", "e": 1}}
    assert without_places(given) == {"a": "train", "b": ["val", "owner/name"], "c": {"d": "x", "e": 1}}


def test_the_command_predict_takes_what_was_published(folders: dict[str, Path], tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    predict.run([f"run={folders['refer']}", f"image={tmp_path}/a.png", "sentence=a chair", f"out={tmp_path}/b.png"])
    assert (tmp_path / "b.png").is_file()


def test_a_place_that_is_none_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="'out' is a URL with a password"):
        publish.run([f"run={folders['refer']}", "out=s3://key:secret@bucket/model"])
    with pytest.raises(ConfigError, match="hf://owner/name"):
        publish.run([f"run={folders['refer']}", "out=hf://datasets/me/model"])
