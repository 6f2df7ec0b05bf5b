"""A build writes the same bytes however it is run, stopped or resumed, and leaves out exactly what it must."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.building.plan import remaining
from pipeline.building.recipe import schema_of
from pipeline.building.shard import build_shard, finish_set
from pipeline.encoders import clip_text, sd_vae
from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import exact
from shards.errors import CorruptShard, FingerprintMismatch, IncompleteSet, SourceError
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from tests.pipeline.toys import SETTINGS, Build, ToySource, ToyText, ToyVae, digests

ROOT = Path(__file__).parents[3]


class Stop(Exception):
    """Stands for whatever ends a build from outside."""


def test_records_hold_what_the_source_and_the_encoders_say(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    manifest = build.run()
    assert manifest.counts == {"records": 10, "items": 20, "rejects": 0, "view": 10, "sentence": 30}
    shards = ShardSet.open(str(build.folder))
    for number, key in enumerate(build.source.keys("train")):
        record, example = shards.record(number), build.source.load("train", key)
        height, width = example.image.shape[:2]
        (view,) = build.plan.views(key, height, width)
        pixels = to_pixels([render(example.image, view)], (32, 32))
        np.testing.assert_array_equal(record.array("latent"), ToyVae().encode(pixels)["latent"])
        tokens = ToyText().tokenize(list(example.sentences))
        np.testing.assert_array_equal(record.array("tokens"), tokens)
        np.testing.assert_array_equal(record.array("text"), ToyText().encode(tokens).astype(np.float16))
        assert record.key == key
        assert record.meta == {
            **example.meta,
            "items": [[0, 2], [2, 1]],
            "views": [view.to_json()],
            "sentences": list(example.sentences),
        }
        assert View.from_json(record.meta["views"][0]) == view


def test_bytes_do_not_depend_on_threads_or_on_who_is_slow(tmp_path: Path) -> None:
    def dawdle(key: str) -> None:
        time.sleep(0.02 * (int(key[5:]) % 3 == 0))

    plain = Build(tmp_path / "a" / "toys", settings=replace(SETTINGS, decode_threads=1, decode_ahead=1))
    threaded = Build(
        tmp_path / "b" / "toys", ToySource(on_load=dawdle), settings=replace(SETTINGS, decode_threads=4, decode_ahead=9)
    )
    plain.run()
    threaded.run()
    assert digests(plain.folder) == digests(threaded.folder)
    assert set(digests(plain.folder)) >= {"manifest.json", "toys-000002.tar", "toys-000002.idx", "rejects.jsonl"}


def test_a_finished_build_run_again_does_nothing(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    manifest = build.run()
    times = {path: path.stat().st_mtime_ns for path in build.folder.iterdir()}
    again = Build(build.folder, ToySource(on_load=lambda key: pytest.fail("nothing is to be loaded")))
    assert again.run() == manifest
    assert {path: path.stat().st_mtime_ns for path in build.folder.iterdir()} == times


@pytest.mark.parametrize("stage", ["load", "encode"])
def test_a_build_stopped_anywhere_and_run_again_gives_the_same_bytes(tmp_path: Path, stage: str) -> None:
    whole = Build(tmp_path / "whole" / "toys")
    whole.run()
    threads = threading.active_count()

    def stop_at(key: str) -> None:
        if key == "image006":
            raise Stop

    def stop_late(latent: np.ndarray) -> np.ndarray:
        if len(vae.shapes) == 4:
            raise Stop
        return latent

    vae = ToyVae(spoil=stop_late) if stage == "encode" else ToyVae()
    stopped = Build(tmp_path / "stopped" / "toys", ToySource(on_load=stop_at) if stage == "load" else ToySource(), vae)
    with pytest.raises(Stop):
        stopped.run()
    assert threading.active_count() == threads, "stages must end with the shard"
    files = set(digests(stopped.folder))
    assert files == {
        "_build/environment.json",
        "_build/recipe.json",
        "_build/toys-000000.json",
        "toys-000000.tar",
        "toys-000000.idx",
    }
    first = (stopped.folder / "toys-000000.tar").stat()
    Build(stopped.folder).run()
    assert digests(stopped.folder) == digests(whole.folder)
    again = (stopped.folder / "toys-000000.tar").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns), "a finished shard is not touched"


def test_a_build_killed_by_sigkill_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = Build(tmp_path / "whole" / "toys")
    whole.run()
    script = """
import os, signal, sys
from pathlib import Path
from tests.pipeline.toys import Build, ToyVae
vae = ToyVae()
def kill(latent):
    if len(vae.shapes) == 5:  # two batches a shard: in the middle of the third
        os.kill(os.getpid(), signal.SIGKILL)
    return latent
vae.spoil = kill
Build(Path(sys.argv[1]), vae=vae).run()
"""
    folder = tmp_path / "killed" / "toys"
    command = [sys.executable, "-c", script, str(folder)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "manifest.json").exists()
    build = Build(folder)
    assert len(remaining(build.planned, folder)) == 1
    first = (folder / "toys-000000.tar").stat().st_mtime_ns
    build.run()
    assert digests(folder) == digests(whole.folder)
    assert (folder / "toys-000000.tar").stat().st_mtime_ns == first


def test_what_a_killed_worker_left_goes_where_another_built_its_shard(tmp_path: Path) -> None:
    """The driver lives on, so no next run begins by sweeping."""
    left = tmp_path / "toys" / ".toys-000001.tar.123-abcd.tmp"
    Build(tmp_path / "toys", ToySource(on_load=lambda key: left.touch() if key == "image009" else None)).run()
    Build(tmp_path / "whole" / "toys").run()
    assert digests(tmp_path / "toys") == digests(tmp_path / "whole" / "toys")


def test_rejected_samples_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    def spoil(latent: np.ndarray) -> np.ndarray:
        if len(vae.shapes) == 1:
            latent[1] = np.nan  # image001, in the first batch
        return latent

    vae = ToyVae(spoil=spoil)
    source = ToySource(broken={"image002": "truncated JPEG", "image008": "empty mask", "image009": "missing file"})
    build = Build(tmp_path / "toys", source, vae)
    manifest = build.run()
    assert manifest.counts["records"] == 6
    assert manifest.counts["rejects"] == 4
    lines = [json.loads(line) for line in (build.folder / "rejects.jsonl").read_text().splitlines()]
    assert lines == [
        {"shard": "toys-000000", "key": "image001", "reason": "latent of image001 holds NaN after encoding"},
        {"shard": "toys-000000", "key": "image002", "reason": "truncated JPEG"},
        {"shard": "toys-000002", "key": "image008", "reason": "empty mask"},
        {"shard": "toys-000002", "key": "image009", "reason": "missing file"},
    ]
    shards = ShardSet.open(str(build.folder))
    kept = [shards.record(number).key for number in range(shards.n_records)]
    assert kept == ["image000", "image003", "image004", "image005", "image006", "image007"]
    assert [shard.name for shard in manifest.shards] == ["toys-000000", "toys-000001"]
    assert remaining(build.planned, build.folder) == [], "a shard of rejects only is done"


def test_text_beyond_float16_rejects_its_sample(tmp_path: Path) -> None:
    class LoudText(ToyText):
        def encode(self, tokens: np.ndarray) -> np.ndarray:
            states = super().encode(tokens)
            states[(tokens == self.tokenize(["003"])[0, 0]).any(1)] = 1e6
            return states

    build = Build(tmp_path / "toys", text=LoudText())
    build.run()
    (line,) = (build.folder / "rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "image003"
    assert "text of image003 holds a value beyond the range of float16" in line


def test_too_many_rejects_end_the_build_and_the_first_are_listed(tmp_path: Path) -> None:
    source = ToySource(broken={"image001": "truncated JPEG", "image002": "empty mask"})
    strict = Build(tmp_path / "toys", source, settings=replace(SETTINGS, max_rejects=0.1))
    with pytest.raises(SourceError, match=r"2 of 10 examples were rejected, max_rejects allows 10\.00%:\n  image001"):
        strict.run()
    assert not (strict.folder / "manifest.json").exists()
    lenient = replace(strict, settings=replace(SETTINGS, max_rejects=0.2), vae=ToyVae())
    lenient.run()
    assert lenient.vae.shapes == [], "the limit is no part of the recipe: nothing is built again"  # pyright: ignore


def test_a_source_with_nothing_usable_is_an_error_whatever_the_limit(tmp_path: Path) -> None:
    source = ToySource(2, broken={"image000": "bad", "image001": "bad"})
    with pytest.raises(SourceError, match="2 of 2 examples were rejected"):
        Build(tmp_path / "toys", source, settings=replace(SETTINGS, max_rejects=1.0)).run()


@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_is_refused_field_by_field(tmp_path: Path, finished: bool) -> None:
    build = Build(tmp_path / "toys")
    build.run()
    if not finished:
        other = Build(tmp_path / "half", ToySource(on_load=lambda key: (_ for _ in ()).throw(Stop())))
        with pytest.raises(Stop):
            other.run()
        build = replace(build, folder=other.folder)
    changed = replace(build, vae=ToyVae(fingerprint={"encoder": "toy", "weights": "cc"}), plan=exact.build(64))
    before = digests(build.folder)
    with pytest.raises(FingerprintMismatch) as caught:
        changed.run()
    assert "image_encoder.weights: 'cc' here, 'aa' in" in str(caught.value)
    assert "views.size_px.0: 64 here, 32 in" in str(caught.value)
    assert "Nothing was deleted" in str(caught.value)
    assert digests(build.folder) == before


def test_shards_of_unknown_origin_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "toys-000000.tar").write_bytes(b"precious")
    with pytest.raises(IncompleteSet, match="1 shards, such as toys-000000"):
        Build(tmp_path / "toys").run()


def test_a_damaged_shard_of_a_finished_set_is_rebuilt_to_the_same_bytes(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    build.run()
    whole = digests(build.folder)
    (build.folder / "toys-000001.tar").write_bytes(b"")
    build.run()
    assert digests(build.folder) == whole
    (build.folder / "toys-000001.tar").write_bytes(b"")
    drifted = replace(build, vae=ToyVae(spoil=lambda latent: latent * np.float16(0.5)))
    with pytest.raises(CorruptShard, match="toys-000001 was built again and differs"):
        drifted.run()


def test_a_missing_shard_keeps_the_set_unfinished(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    schema = schema_of(build.source, build.plan, build.vae, build.text, SETTINGS)
    build_shard(build.planned[1], build.source, "train", build.plan, build.vae, build.text, build.folder, SETTINGS)
    with pytest.raises(IncompleteSet, match="2 of 3 shards are not built, the first is toys-000000"):
        finish_set(build.planned, build.source, "train", schema, build.recipe, build.folder, SETTINGS)
    assert not (build.folder / "manifest.json").exists()


def test_encoders_see_one_batch_shape_and_every_sentence_once_a_shard(tmp_path: Path) -> None:
    vae, text = ToyVae(), ToyText()
    Build(tmp_path / "toys", vae=vae, text=text).run()
    assert set(vae.shapes) == {(3, 3, 32, 32)}
    assert len(vae.shapes) == 2 + 2 + 1  # shards of 4, 4 and 2 images in batches of 3
    assert set(text.batches) == {5}
    asked = [row.tobytes() for row in text.rows if row.any()]
    assert len(asked) == (4 + 1) + (4 + 1) + (2 + 1)  # "left ball" and one sentence an image, in each shard


def test_token_mode_stores_ids_and_encodes_no_sentence(tmp_path: Path) -> None:
    text = ToyText()
    build = Build(tmp_path / "toys", text=text, settings=replace(SETTINGS, text="tokens"))
    manifest = build.run()
    assert [field.member for field in manifest.schema.fields] == ["latent.npy", "tokens.npy", "meta.json"]
    assert text.batches == []


def test_several_views_of_an_image_stay_together(tmp_path: Path) -> None:
    class Thirds:
        size_px = (16, 16)
        views_per_image = 3

        def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
            cuts = [(0, 0, 18, 18), (2, 2, 20, 20), (1, 0, 17, 20)]
            return [View((16, 16), box, (16, 16), (0, 0, 16, 16)) for box in cuts]

        def identity(self) -> dict[str, object]:
            return {"plan": "thirds"}

    build = Build(tmp_path / "toys", plan=Thirds())
    manifest = build.run()
    assert manifest.counts["view"] == 30
    shards = ShardSet.open(str(build.folder))
    record, example = shards.record(5), build.source.load("train", "image005")
    pixels = to_pixels([render(example.image, view) for view in Thirds().views("image005", 0, 0)], (16, 16))
    np.testing.assert_array_equal(record.array("latent"), ToyVae().encode(pixels)["latent"])


def test_progress_counts_records_and_rejects(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys", ToySource(broken={"image002": "bad"}))
    seen: list[tuple[int, int]] = []
    build_shard(
        build.planned[0], build.source, "train", build.plan, build.vae, build.text, build.folder, SETTINGS,
        progress=lambda done, rejects: seen.append((done, rejects)),
    )  # fmt: skip
    assert seen == [(1, 0), (2, 0), (2, 1), (3, 1)]


def test_real_encoders_store_what_encoding_again_from_the_source_gives(model_folder: Path, tmp_path: Path) -> None:
    vae, text = sd_vae.build(str(model_folder)), clip_text.build(str(model_folder), length=12)
    build = Build(tmp_path / "toys", vae=vae, text=text, plan=exact.build(64))
    build.run()
    shards = ShardSet.open(str(build.folder))
    for number in (0, 4, 9):
        record = shards.record(number)
        example = build.source.load("train", record.key)
        view = View.from_json(record.meta["views"][0])
        (alone,) = vae.encode(to_pixels([render(example.image, view)], view.size_px))["latent"]
        # one unit in the last place of float16, because a batch of one may round differently before storing
        np.testing.assert_allclose(record.array("latent")[0], alone, rtol=2**-10, atol=1e-5)
        states = text.encode(text.tokenize(record.meta["sentences"]))
        np.testing.assert_allclose(record.array("text"), states.astype(np.float16), rtol=2**-10, atol=1e-4)


def test_real_encoders_build_the_same_bytes_twice(model_folder: Path, tmp_path: Path) -> None:
    for place, threads in (("a", 1), ("b", 4)):
        vae, text = sd_vae.build(str(model_folder)), clip_text.build(str(model_folder), length=12)
        settings = replace(SETTINGS, decode_threads=threads)
        Build(tmp_path / place / "toys", vae=vae, text=text, plan=exact.build(64), settings=settings).run()
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
