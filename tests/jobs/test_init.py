"""The command `init`: the pair it writes passes check and both dry runs, says its guesses, replaces nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from diffusion_perception import settings
from jobs import build_shards, check, init, program, train
from shards.errors import ConfigError, SourceError
from tests.pipeline.tar_files import write_tar

ROOT = Path(__file__).resolve().parents[2]
H, W = 40, 48


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 256, (H, W, 3), dtype=np.uint8)).save(path)


def seg(root: Path) -> list[str]:
    """Masks of 0 and 255."""
    mask = np.zeros((H, W), np.uint8)
    mask[10:20, 10:30] = 255
    for number in range(6):
        photo(root / f"images/{number}.jpg")
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    return ["seg", "--images", str(root / "images"), "--labels", str(root / "masks")]


def depth(root: Path) -> list[str]:
    for number in range(6):
        photo(root / f"rgb/{number}.jpg")
        (root / "depth").mkdir(exist_ok=True)
        values = np.full((H, W), 3000, np.uint16)
        values[:4] = 0
        Image.fromarray(values).save(root / f"depth/{number}.png")
    return ["depth", f"images={root / 'rgb'}", f"labels={root / 'depth'}", "source.units_per_metre=1000"]


def refer(root: Path) -> list[str]:
    lines = []
    for number in range(6):
        photo(root / f"photos/{number}.jpg")
        lines.append(f'{{"image": "{number}.jpg", "text": "the thing", "polygon": [[4, 4], [20, 4], [20, 20]]}}')
    (root / "refs.jsonl").write_text("\n".join(lines))
    return ["refer", f"--images={root / 'photos'}", f"--labels={root / 'refs.jsonl'}"]


def in_tars(root: Path) -> list[str]:
    """What img2dataset writes."""
    photo(root / "one.jpg")
    picture = (root / "one.jpg").read_bytes()
    for split in ("train", "val"):
        for number in range(2):
            key = f"{number:05d}0000"
            about = {f"{key[:-1]}1.json": b'{"url": "https://x", "caption": "a cat"}'}
            files = {f"{key}.jpg": picture, f"{key[:-1]}1.jpg": picture} | about  # the first has none
            write_tar(root / f"tars/{split}/{number:05d}.tar", files)
    return ["pictures", "--images", str(root / "tars")]


def in_a_folder(root: Path) -> list[str]:
    for number in range(3):
        photo(root / f"photos/sub/{number}.jpg")
        (root / f"photos/sub/{number}.txt").write_text("a cat")
    return ["pictures", f"images={root / 'photos'}"]


def alone(root: Path) -> list[str]:
    photo(root / "photos/0.jpg")
    return ["pictures", f"images={root / 'photos'}"]


LAYOUTS = {"seg": seg, "depth": depth, "refer": refer}


@pytest.mark.parametrize("task", LAYOUTS)
def test_the_written_pair_passes_check_and_both_dry_runs(
    task: str, tmp_path: Path, tiny_sd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init.run([*LAYOUTS[task](tmp_path / "data"), f"out={tmp_path}", "name=mine", f"sets={tmp_path / 'sets'}"])
    printed = capsys.readouterr().out
    assert "wrote" in printed
    assert "no split was found" in printed
    build, run = tmp_path / "mine.build.yaml", tmp_path / "mine.train.yaml"
    drawn_on = settings.read_file(run)["loop"]["pictures_from"]
    assert list(Path(drawn_on).iterdir()), "predictions are drawn on the validation pictures as it learns"
    check.run([str(build), f"page={tmp_path / 'look.html'}"])
    model = [f"{part}.model={tiny_sd}" for part in ("image", "text")]
    build_shards.run([f"config={build}", *model, "--dry-run"])
    assert "plan: mine-train: 1 shards" in capsys.readouterr().out
    train.run([f"config={run}", f"backbone.model={tiny_sd}", "--dry-run"])
    assert "plan: parameters" in capsys.readouterr().out


def test_every_guess_stands_beside_its_setting(tmp_path: Path) -> None:
    init.run([*seg(tmp_path / "data"), f"out={tmp_path}"])
    text = (tmp_path / "data.build.yaml").read_text()
    options = yaml.safe_load(text)["source"]
    assert options["values"] == {0: "background", 255: "thing"}
    lines = text.splitlines()
    for option in [name for name in options if name != "name"]:
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"  {option}:")]
        assert "# " in lines[place] or lines[place - 1].startswith("  #"), option
    assert max(map(len, lines)) <= 120
    schema = lines[0].partition("$schema=")[2]
    assert (tmp_path / schema).resolve() == ROOT / "docs/schemas/build.schema.json"


def test_what_a_person_knows_lies_over_what_was_found(tmp_path: Path) -> None:
    words = [*seg(tmp_path / "data"), f"out={tmp_path}", "name=x", "source.classes=[sound, crack]"]
    init.run([*words, "source.shares={train: 0.5, val: 0.25, test: 0.25}"])
    found = settings.read_file(tmp_path / "x.build.yaml")
    assert found["source"]["values"] == {0: "sound", 255: "crack"}
    assert found["splits"] == ["train", "val", "test"]
    assert set(found["views_of"]) == {"val", "test"}


def test_shares_of_sentences_keep_the_names_of_the_splits(tmp_path: Path) -> None:
    init.run([*refer(tmp_path / "own"), f"out={tmp_path}", "name=own", "source.shares=[0.5,0.5]"])
    source = settings.read_file(tmp_path / "own.build.yaml")["source"]
    assert (source["splits"], source["shares"]) == (["train", "val"], [0.5, 0.5])


def test_names_are_asked_to_be_as_many_as_the_values(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source\.classes has 3 names.*the labels hold 2 values"):
        init.run([*seg(tmp_path / "data"), f"out={tmp_path}", "source.classes=[a, b, c]"])
    assert not list(tmp_path.glob("*.yaml"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    words = [*seg(tmp_path / "data"), f"out={tmp_path}"]
    init.run(words)
    before = (tmp_path / "data.build.yaml").read_bytes()
    with pytest.raises(ConfigError, match="is there already, and is not overwritten"):
        init.run(words)
    (tmp_path / "data.build.yaml").unlink()
    with pytest.raises(ConfigError, match=r"data\.train\.yaml is there already"):
        init.run(words)
    init.run([*words, "name=other"])
    assert (tmp_path / "other.build.yaml").read_bytes() == before.replace(b"name: data", b"name: other").replace(
        b"data.build", b"other.build"
    ).replace(b"<out>/data-", b"<out>/other-")


def test_a_dry_run_prints_both_files_and_writes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init.run([*seg(tmp_path / "data"), f"out={tmp_path}", "--dry-run"])
    printed = capsys.readouterr().out
    assert "values: {0: background, 255: thing}" in printed
    assert "base: configs/train/own_seg.yaml" in printed
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Say seg, depth, refer or pictures"),
        (["sge", "--images", "a", "--labels", "b"], "Did you mean 'seg'"),
        (["seg", "--labels", "/absent"], "setting 'images' is missing"),
        (["seg", "--images", "/absent", "--labels", "/absent"], "images=/absent is no folder"),
        (["seg", "--images", "{root}/images", "--labels", "{root}/masks", "out=/absent"], "out=/absent: is no folder"),
        (["seg", "--images", "{root}/images", "--labels", "{root}/masks", "source.valeus={0: a}"], "mean 'values'"),
        (["seg", "--images", "{root}/images", "--labels", "{root}/masks", "source.root=/x"], "follows from images"),
    ],
)
def test_wrong_words_are_one_message(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seg(tmp_path / "data")
    assert program.status("jobs.init", [word.replace("{root}", str(tmp_path / "data")) for word in words]) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("*.yaml"))


def test_neither_ray_nor_torch_is_needed(tmp_path: Path) -> None:
    words = [*seg(tmp_path / "data"), f"out={tmp_path}"]
    code = f"import sys; sys.modules['ray'] = sys.modules['torch'] = None\nfrom jobs import init; init.run({words})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("write", "source", "text"),
    [
        (in_tars, {"tars": "{split}/*.tar", "captions": "json:caption", "splits": ["train", "val"]}, 77),
        (in_a_folder, {"images": ".", "captions": "txt", "splits": ["train"]}, 77),
        (alone, {"images": ".", "captions": "", "splits": ["train"]}, None),
    ],
)
def test_pictures_alone_make_one_file_that_passes_check_and_a_dry_run(
    write: Any, source: dict[str, Any], text: int | None, tmp_path: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.files.tars.index.default_folder", lambda: tmp_path / "indexes")
    words = write(tmp_path / "data")
    init.run([*words, f"out={tmp_path}", "name=mine", f"sets={tmp_path / 'sets'}"])
    assert not (tmp_path / "mine.train.yaml").exists()
    build = tmp_path / "mine.build.yaml"
    written = settings.read_file(build)
    assert {name: written["source"][name] for name in source} == source
    assert (written["text"] or {}).get("length") == text
    models = [f"image.model={tiny_sd}", "image.revision="]
    models += [f"text.model={tiny_sd}", "text.revision="] if text else []
    check.run([str(build), f"page={tmp_path / 'page.html'}"])
    build_shards.run([f"config={build}", "--dry-run", *models])
    assert not (tmp_path / "sets").exists()


def test_pictures_alone_take_no_labels_and_others_need_them(tmp_path: Path) -> None:
    for words in (["pictures", f"--labels={tmp_path}"], ["seg"]):
        with pytest.raises(ConfigError, match="is of pictures alone, and takes no labels"):
            init.run([*words, f"--images={tmp_path}"])
    with pytest.raises(SourceError, match=r"holds no picture, .*, and no \.tar"):
        init.run(["pictures", f"--images={tmp_path}"])
    with pytest.raises(ConfigError, match=r"copy configs/build/own_tars\.yaml"):
        init.run(["pictures", "--images=s3://bucket/x"])
    write_tar(tmp_path / "0.tar", {})
    with pytest.raises(SourceError, match="1 tars, and no picture in them"):
        init.run(["pictures", f"--images={tmp_path}"])
