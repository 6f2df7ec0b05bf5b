"""`predict --ray`: what is refused before a cluster is asked, and the same files and record as without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_cluster import Driver
from PIL import Image

from demo.tiny_model import write_tiny_model
from diffusion_perception import settings
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.many import Named
from diffusion_perception.predicting.picture_files import PictureFile
from jobs import picture_actor, predict
from jobs.picture_actor import TASK, PictureActor, decoded, told
from jobs.spread_prediction import tasks_of
from shards.errors import ConfigError, Reject


def write_pictures(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        levels = np.random.default_rng(number).integers(0, 256, (5, 6, 3)).astype(np.uint8)
        Image.fromarray(levels).resize((70, 60)).save(folder / f"{number}.png")


def lines(folder: Path) -> list[str]:
    """The record, without its order."""
    return sorted((folder / "predictions.jsonl").read_text().splitlines())


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def test_tasks_are_so_many_pictures_or_one_video() -> None:
    todo = [Named(PictureFile(f"/{name}", name), name) for name in ("a.png", "b.mp4", "c.png", "d.png")]
    found = [[one.name for one in decoded(task)] for task in tasks_of(todo, 2)]
    assert found == [["b.mp4"], ["a.png", "c.png"], ["d.png"]]
    assert decoded(tasks_of(todo, 2)[2]) == [todo[3]]


def test_one_picture_is_nothing_to_spread() -> None:
    with pytest.raises(ConfigError, match="--ray spreads many pictures: say which, images=FOLDER"):
        predict.run(["run=/nowhere", "image=a.png", "--ray"])


@pytest.fixture(scope="module")
def model(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "depth"
    names = ("attic", "bath", "den")
    write_tiny_model(folder, tiny_sd, task={"name": "depth"}, tokens=1, class_table=(3, 64), class_names=names)
    return folder


def test_an_actor_loads_its_model_once_and_tells_what_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "photos", range(2))
    todo = [Named(PictureFile(f"{tmp_path}/photos/{name}", name), name[0]) for name in ("0.png", "1.png", "2.png")]
    loaded: list[str] = []
    predictor_of = picture_actor.predictor_of

    def counted(*given: Any) -> Any:
        loaded.append(given[1])
        return predictor_of(*given)

    monkeypatch.setattr(picture_actor, "predictor_of", counted)
    plain = settings.to_plain(PredictJob(str(model), images=str(tmp_path / "photos"), device="cpu"))
    actor = PictureActor(plain, str(model), str(tmp_path))
    rows = [actor({TASK: np.array([task])}) for task in tasks_of(todo, 2)]
    assert loaded == [str(model)]
    done = list(told({name: column[0] for name, column in row.items()} for row in rows))
    assert [(one.name, one.outputs) for one in done[:2]] == [("0", ("0-drawn.png",)), ("1", ("1-drawn.png",))]
    assert "2.png" in done[2].error
    actor = PictureActor(plain | {"device": "cuda:9"}, str(model), str(tmp_path))
    row = actor({TASK: np.array(tasks_of(todo, 2)[:1])})
    with pytest.raises(ConfigError, match="torch sees no such device"):
        list(told([{name: column[0] for name, column in row.items()}]))


@pytest.mark.cluster
def test_a_cluster_goes_on_and_writes_what_one_process_writes(driver: Driver, model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_pictures(photos, range(2))
    words = [f"run={model}", f"images={photos}", "exports=[.png, .npy]", "device=cpu"]
    predict.run([*words, f"into={tmp_path}/there"])
    write_pictures(photos, range(2, 5))
    (photos / "broken.png").write_bytes(b"no picture")
    spread = ("--ray", "resources.cpus_per_actor=1", "resources.actors=2", "resources.pictures_per_task=2")
    with pytest.raises(Reject, match=r"1 of 6 pictures could not be predicted: .*broken.png") as refusal:
        driver.run("jobs.predict", *words, f"into={tmp_path}/there", *spread)
    assert "6 pictures, 2 of them finished before" in "".join(refusal.value.__notes__)
    (photos / "broken.png").unlink()
    predict.run([*words, f"into={tmp_path}/here"])
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert lines(tmp_path / "there") == lines(tmp_path / "here")
    assert len(lines(tmp_path / "here")) == 1 + 5
