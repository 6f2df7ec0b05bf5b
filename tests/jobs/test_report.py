"""The page of two seeds of a run that was really trained, by the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toy_jobs import train_here, train_settings

from jobs import report
from shards.errors import ConfigError


def test_two_seeds_make_one_page_with_curves_scores_and_predictions(
    sets: Path, tiny_sd: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for seed in (0, 1):
        over = {"loop.steps": 1, "loop.eval_every_steps": 1, "loop.seed": seed, "run.name": f"seed{seed}"}
        train_here(train_settings(sets, tiny_sd, tmp_path, over=over))
    page, pictures = tmp_path / "r.html", world / "images/mscoco/images/train2014"
    runs = [f"{tmp_path}/seed{seed}" for seed in (0, 1)]
    report.run([*runs, f"html={page}", "examples=2", f"page.pictures={pictures}"])
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert text.count("<svg") >= 4
    assert "2 seeds of one configuration" in text
    assert re.search(r"<td>validation: oIoU</td><td>0\.\d{4}</td><td>0\.\d{4}</td>", text)
    assert "loop.seed" in text.split("Settings that differ")[1].split("<details>")[0]
    assert "run.name" not in text.split("Settings that differ")[1].split("<details>")[0]
    assert re.search(r"device cpu, diffusers [\d.]+, .*python 3\.\d.*, torch \d.*, workers 1<", text)
    for seed in (0, 1):
        over_time = text.split(f"The same pictures as seed{seed} learned")[1].split("<h2>")[0]
        assert over_time.count("<img") == over_time.count("<h3>") == over_time.count("step 1<") == 4
        predictions = text.split(f"Predictions of seed{seed}")[1].split("<h2>")[0]
        best, worst = (
            [float(score) for score in re.findall(r"score ([\d.e-]+)", part)]
            for part in predictions.split("The best")[1].split("The worst")
        )
        assert len(best) == len(worst) == 2
        assert best == sorted(best, reverse=True)
        assert worst == sorted(worst)
        assert worst[-1] <= best[-1]
        assert predictions.count('alt="predicted"') == 4
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<script" not in text
    assert 'name="viewport"' in text, "a phone shows it at its own width"


def test_a_run_that_drew_on_pictures_is_shown_on_them(sets: Path, tiny_sd: Path, world: Path, tmp_path: Path) -> None:
    pictures = world / "images/mscoco/images/train2014"
    over = {"loop.steps": 1, "loop.pictures_from": str(pictures), "run.name": "seen"}
    train_here(train_settings(sets, tiny_sd, tmp_path, over=over))
    pages = [tmp_path / "own.html", tmp_path / "asked.html"]
    report.run([f"{tmp_path}/seen", f"html={pages[0]}", "examples=1", "limit=4"])
    report.run([f"{tmp_path}/seen", f"html={pages[1]}", "examples=1", "limit=4", f"page.pictures={pictures}"])
    own, asked = (page.read_text() for page in pages)
    assert "false colours" not in own
    assert own == asked


def test_a_page_shows_levels_and_words_of_a_referring_run(
    sets: Path, tiny_sd: Path, world: Path, tmp_path: Path
) -> None:
    pictures = world / "images/mscoco/images/train2014"
    over = {"loop.steps": 1, "loop.pictures_from": str(pictures), "run.name": "seen"}
    train_here(train_settings(sets, tiny_sd, tmp_path, over=over))
    plain, page = tmp_path / "plain.html", tmp_path / "r.html"
    report.run([f"{tmp_path}/seen", f"html={plain}", "examples=0"])
    report.run([f"{tmp_path}/seen", f"html={page}", "examples=0", "features=true"])
    assert "Features of seen" not in plain.read_text()
    found = page.read_text().split("<h2>Features of seen</h2>")[1].split("<h2>")[0]
    assert "Pictures of the source" in found
    assert "Attention of each word" in found
    records = found.split("<h3>")[1:]
    assert len(records) == 4, "as many as the run drew"
    drawn = page.read_text().split("The same pictures as seen learned")[1].split("<h2>")[0]
    for record in records:
        key, sentence = re.findall(r"^(\S+): (.*)</h3>", record)[0]
        assert f"<h3>{key}</h3>" in drawn
        captions = re.findall(r"<figcaption>(.*?)</figcaption>", record)
        assert captions[:2] == ["what the encoder saw", "f1: 16 channels, 8 x 8"]
        assert [caption[:3] for caption in captions[1:5]] == ["f1:", "f2:", "f3:", "f4:"]
        assert captions[5:] == list(dict.fromkeys(word.strip(",.") for word in sentence.split()))[:12]
        assert record.count('src="data:image/jpeg') == len(captions)


def test_a_page_that_cannot_be_made_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of which runs"):
        report.run([])
    with pytest.raises(ConfigError, match="'runs' is a URL with a password"):
        report.run(["s3://key:secret@bucket/run", f"html={tmp_path}/r.html"])
    with pytest.raises(ConfigError, match="is not a folder"):
        report.run(["a", f"html={tmp_path}/none/r.html"])
    with pytest.raises(ConfigError, match="no finished checkpoint"):
        report.run([str(tmp_path), f"html={tmp_path}/r.html"])
    with pytest.raises(ConfigError, match="examples=-1"):
        report.run(["a", "examples=-1"])
