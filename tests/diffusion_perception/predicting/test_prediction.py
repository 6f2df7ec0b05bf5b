"""The command `predict`: what is refused before a model is loaded, outputs, resuming, and pictures that are broken."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_predictor import scene

from diffusion_perception.predicting import answer_files
from diffusion_perception.predicting import command as prediction
from diffusion_perception.predicting import many as prediction_many
from diffusion_perception.predicting import outputs as prediction_outputs
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.outputs import LOG, OutputFolder
from diffusion_perception.predicting.picture_files import PictureFile, pictures_of, read
from jobs import predict, program
from shards.errors import ConfigError, Reject

Models = Callable[[str], str]


def save(path: Path, seed: int = 0, size: tuple[int, int] = (60, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(*size, seed)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures in a folder and one below it, a broken one, and files that are none."""
    folder = tmp_path / "photos"
    for number, name in enumerate(["a.png", "b.jpg", "b.png", "deep/c.png"]):
        save(folder / name, number)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    save(folder / ".hidden" / "d.png")
    return folder


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(prediction, "predictor_of", loaded)


@pytest.mark.parametrize(
    "orders", [["photos"], ["photos/**/*"], ["list.txt"], ["file://photos"], ["file://photos/**/*.*"]]
)
def test_folders_globs_lists_and_urls_name_the_same_pictures(orders: list[str], photos: Path) -> None:
    listed = ["# comment", "photos/a.png", "photos/b.jpg", "", "photos/b.png", "photos/broken.png", "photos/deep/c.png"]
    (photos.parent / "list.txt").write_text("\n".join(listed))
    there = [order.replace("file://", f"file://{photos.parent}/") for order in orders]
    named = [order if "://" in order else f"{photos.parent}/{order}" for order in there]
    found = pictures_of(named)
    places = [Path(one.place.removeprefix("file://")).relative_to(photos).as_posix() for one in found]
    assert places == ["a.png", "b.jpg", "b.png", "broken.png", "deep/c.png"]
    assert pictures_of([*named, str(photos / "a.png")]) == found, "each place once"


def test_a_glob_below_a_folder_with_brackets_in_its_name(photos: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(photos), "/bracketed/shots [20]", recursive=True)
    there = photos.rename(photos.with_name("shots [20]"))
    for place in (str(there), f"file://{there}", "memory://bracketed/shots [20]"):
        assert [one.name for one in pictures_of([f"{place}/*.jpg"])] == ["b.jpg"]
        assert len(pictures_of([place])) == len(pictures_of([f"{place}/**/*.*"])) == 5
        assert [one.name for one in pictures_of([f"{place}/[ab].png"])] == ["a.png", "b.png"]
    files.rm("/bracketed", recursive=True)


def test_urls_are_listed_and_read_by_fsspec(photos: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(photos), "/bucket/photos", recursive=True)
    expected = ["a.png", "b.jpg", "b.png", "broken.png", "deep/c.png"]
    for named in ("memory://bucket/photos", "memory://bucket/photos/**"):
        found = pictures_of([named])
        assert [one.name for one in found] == expected
        assert np.array_equal(read(found[0].place), read(str(photos / "a.png")))
    with pytest.raises(Reject, match=r"absent\.png cannot be read"):
        read(pictures_of(["memory://bucket/photos/absent.png"])[0].place)
    with pytest.raises(Reject, match=r"picture memory://.*broken.png cannot be decoded"):
        read(found[3].place)


def test_what_names_no_picture_is_refused(tmp_path: Path) -> None:
    for named in ("nothing.png", "*.png", ".", "nosuch://x/y/*.png"):
        with pytest.raises(ConfigError, match="images="):
            pictures_of([named if "://" in named else f"{tmp_path}/{named}"])


def test_many_pictures_broken_ones_and_going_on(
    model_folder: Models, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"run={model_folder('depth')}", f"images={photos}", f"into={tmp_path}/out", "exports=[.png, .npy]"]
    assert program.status("jobs.predict", words) == 1
    said = capsys.readouterr()
    assert f"Reject: 1 of 5 pictures could not be predicted: {photos}/broken.png." in said.err
    assert "[predict] not predicted: picture " in said.out
    assert "a.png: depth " in said.out
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    stems = ["a", "b", "b.png", "deep/c"]  # b.jpg came first, so b.png keeps its suffix
    assert names == sorted([LOG, *(f"{s}{end}" for s in stems for end in ("-drawn.png", ".png", ".npy"))])
    with Image.open(tmp_path / "out" / "a.png") as png:
        millimetres = np.asarray(png).astype(float)
    assert np.abs(np.load(tmp_path / "out" / "a.npy") * 1000 - millimetres).max() <= 0.51
    (photos / "broken.png").unlink()
    (tmp_path / "out" / "b.npy").unlink()
    save(photos / "new.png", 9)
    asked: list[str] = []
    written = prediction_many._written

    def watched(*given):
        asked.append(given[3].picture.name)
        return written(*given)

    monkeypatch.setattr(prediction_many, "_written", watched)
    assert program.status("jobs.predict", words) == 0
    assert asked == ["b.jpg", "new.png"]
    assert "5 pictures, 3 of them finished before" in capsys.readouterr().out
    monkeypatch.setattr(prediction, "predictor_of", None)
    assert program.status("jobs.predict", words) == 0, "all is finished: no model is loaded"
    assert program.status("jobs.predict", [*words, "colormap=Spectral"]) == 1
    assert "holds predictions of other settings (colormap: 'dusk' there, 'Spectral' now)" in capsys.readouterr().err


def test_one_picture_with_several_sentences(
    model_folder: Models, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    photo = save(tmp_path / "a.png")
    words = [f"run={model_folder('refer')}", f"image={photo}", f"out={tmp_path}/x.jpg", f"export={tmp_path}/m.npy"]
    predict.run([*words, "sentences=[the red circle, a wall]", "legend=false"])
    assert np.load(tmp_path / "m-001.npy").shape == (60, 80)
    with Image.open(tmp_path / "x-000.jpg") as drawn:
        assert drawn.size == (80, 60)
    said = capsys.readouterr().out
    assert "the red circle" in said
    assert f"wrote {tmp_path}/x-001.jpg" in said
    predict.run([*words, "sentence=a wall"])
    with Image.open(tmp_path / "x.jpg") as drawn:
        assert drawn.width == 80
        assert drawn.height > 60


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("task", "words", "match"),
    [
        ("depth", ["out=x.txt"], r"out=x.txt: no picture is written with the suffix '.txt'"),
        ("depth", ["out=prediction"], r"no picture is written with the suffix '\(none\)'"),
        ("depth", ["out=/nowhere/x.png"], "its folder /nowhere does not exist. Make it first"),
        ("depth", ["out=FOLDER/x.png", "export=/nowhere/x.npy"], "export=/nowhere/x.npy: its folder"),
        (
            "depth",
            ["out=FOLDER/x.png", "export=FOLDER/x.txt"],
            "writes .png, .npy, .tif, .tiff, .ply; '.txt'",
        ),
        ("depth", ["out=FOLDER/x.png", "export=FOLDER/x.ply"], "a point cloud needs the camera"),
        ("depth", ["out=FOLDER"], "no picture is written|is a folder"),
        ("depth", ["out=FOLDER/x.png", "colormap=jet"], "colormap=jet: unknown"),
        ("depth", ["out=FOLDER/x.png", "class_name=atic"], "Did you mean 'attic'"),
        ("refer", ["out=FOLDER/x.png"], "say what to look for"),
        ("refer", ["out=FOLDER/x.png", "sentence=a", "sentences=[b]"], "sentence and sentences are both given"),
        ("depth", ["images=FOLDER"], "not both"),
    ],
)
def test_what_cannot_be_written_or_asked_is_refused_before_a_model_is_loaded(
    task: str, words: list[str], match: str, model_folder: Models, tmp_path: Path
) -> None:
    photo = save(tmp_path / "a.png")
    words = [word.replace("FOLDER", str(tmp_path)) for word in words]
    with pytest.raises(ConfigError, match=match):
        predict.run([f"run={model_folder(task)}", f"image={photo}", *words])


@pytest.mark.usefixtures("no_model")
def test_no_room_and_nothing_to_write_are_refused(
    model_folder: Models, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"run={model_folder('depth')}", f"images={photos}", f"into={tmp_path}/out"]
    with pytest.raises(ConfigError, match="nothing would be written"):
        predict.run([*words, "draw=false"])
    with pytest.raises(ConfigError, match=r"exports=\('.jsn',\): task depth writes"):
        predict.run([*words, "exports=[.jsn]"])
    monkeypatch.setattr(prediction_outputs, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(ConfigError, match="MB left"):
        predict.run(words)


def test_a_disk_that_fills_up_is_one_message_and_leaves_no_half_file(tmp_path: Path) -> None:
    target = tmp_path / "x.png"

    def full() -> None:
        with prediction_outputs.written(target) as path:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match=r"cannot be written \(No space left on device\).*to go on"):
        full()
    assert list(tmp_path.iterdir()) == []


def test_names_are_kept_and_never_leave_the_folder(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, {"run": "r"})
    names = [
        folder.name(PictureFile(f"/{n}", name))
        for n, name in enumerate(["a.jpg", "a.png", "a.png", "../a.gif", "x-drawn.png"])
    ]
    assert names == ["a", "a.png", "a.png-2", "a.gif", "x-drawn.png"]
    folder.add(PictureFile("/1", "a.png"), "a.png", [], ["said"])
    with (tmp_path / LOG).open("a") as log:
        log.write('{"picture": "torn')
    again = OutputFolder(tmp_path, {"run": "r"})
    assert again.name(PictureFile("/1", "a.png")) == "a.png"
    again.add(PictureFile("/2", "b.png"), "b", [], [])
    assert [json.loads(line)["picture"] for line in (tmp_path / LOG).read_text().splitlines()[-1:]] == ["/2"]
    assert OutputFolder(tmp_path, {"run": "r"}).finished(PictureFile("/2", "b.png"))


def test_a_name_that_is_no_text_is_printed() -> None:
    assert answer_files.printable("a\udcff.png") == "a\\udcff.png"


def test_one_or_many() -> None:
    with pytest.raises(ConfigError, match="say which picture"):
        PredictJob("run")


def test_outputs_do_not_go_to_a_url(tmp_path: Path) -> None:
    job = PredictJob("/run", images=str(save(tmp_path / "a.png")), into="s3://bucket/out")
    with pytest.raises(ConfigError, match="into=s3://bucket/out: outputs go to a folder"):
        prediction_many.planned(job, "/run", "weights")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": "photos", "out": "x.png"}, r"out is 'x.png', which is read with image=.* Set into=FOLDER"),
        ({"images": "photos", "export": "x.npy"}, r"export is 'x.npy'.* Set exports="),
        ({"image": "a.png", "into": "found"}, r"into is 'found', which is read with images=.* Set out=FILE"),
        ({"image": "a.png", "exports": (".npy",)}, r"exports is .* Set export=FILE"),
    ],
)
def test_an_output_that_would_not_be_written_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PredictJob("/run", **given)
