"""Sets with label latents: depth comes back out of them, the same bytes after a kill, and what is refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from depth_rooms import MODEL, VIEWS, depth_mm, write_rooms

from diffusion_perception import ShardSet, places
from diffusion_perception.label_latents.maker import LabelLatentMaker, as_encoded
from diffusion_perception.label_latents.scaling import unscaled, whole_cells
from jobs import label_latents as command
from jobs import program
from pipeline.encoders.sd_vae import decoder
from shards.geometry.view import View
from shards.verify import find_faults
from tests.toy_runs import write_set


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rooms`, and `labelled`, made of it."""
    root = tmp_path_factory.mktemp("label_latents")
    write_rooms(root / "rooms")
    command.run(words(root, root / "labelled"))
    return root


def words(world: Path, out: Path, *more: str) -> list[str]:
    return [f"model={MODEL}", f"set={world}/rooms", f"out={out}", "batch_size=4", "device=cpu", *more]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shown_m(number: int, view: View) -> np.ndarray:
    return as_encoded(depth_mm(number), view).astype(np.float32) / 1000


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_metric_depth_comes_back_out_of_a_label_latent(world: Path, tmp_path: Path, space: str) -> None:
    folder = world / "labelled"
    if space == "disparity":
        command.run(words(world, folder := tmp_path / "labelled", "space=disparity"))
    decode, _ = decoder(str(MODEL))
    made = ShardSet.open(folder)
    for number in range(3):
        record = made.record(number)
        latents, masks, ends = (record.array(name) for name in ("label_latent", "label_mask", "label_ends"))
        for place, view in enumerate(VIEWS):
            levels = decode(latents[place]).astype(np.float32)  # [H, W, 3]
            found = unscaled(levels.mean(axis=2) / 127.5 - 1, ends[place], space)
            true = shown_m(number, view)
            learned = np.kron(masks[place], np.ones((8, 8))).astype(bool)
            off = np.abs(found - true)[learned] / true[learned]
            assert off.mean() < 0.15, "the demo's VAE, trained on coloured pictures and not on depth"
            assert np.corrcoef(found[learned], true[learned])[0, 1] > 0.95
            assert np.abs(levels - levels.mean(axis=2, keepdims=True)).mean() < 8, "three equal channels"


class Means:
    """An encoder that stores means of 8 x 8 pixels, and so loses nothing of a cell but what varies in it."""

    fingerprint: ClassVar = {"encoder": "means"}

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        cells = pixels.reshape(len(pixels), 3, 8, 8, 8, 8).mean(axis=(3, 5))
        return {"latent": np.concatenate([cells, cells[:, :1]], axis=1).astype(np.float16)}


def test_metres_of_a_cell_come_back_exactly_where_the_encoder_keeps_them(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LabelLatentMaker, "encoder", Means())
    command.run(words(world, tmp_path / "labelled", "quantile=0"))
    made = ShardSet.open(tmp_path / "labelled")
    for number in range(3):
        record = made.record(number)
        found = unscaled(record.array("label_latent").astype(np.float32), record.array("label_ends")[:, None], "depth")
        for place, view in enumerate(VIEWS):
            true = shown_m(number, view).reshape(8, 8, 8, 8).mean(axis=(1, 3))
            whole = record.array("label_mask")[place].astype(bool)
            for channel in found[place]:
                np.testing.assert_allclose(channel[whole], true[whole], atol=2e-3)  # of 3 metres, in float16


def test_ends_are_the_quantiles_of_what_a_view_measured_and_cells_are_whole(world: Path) -> None:
    made = ShardSet.open(world / "labelled")
    for number in range(3):
        for place, view in enumerate(VIEWS):
            true = shown_m(number, view)
            measured = true > 0
            assert not measured.all()
            ends = made.record(number).array("label_ends")[place]
            np.testing.assert_allclose(ends, np.quantile(true[measured], (0.02, 0.98)), rtol=1e-6)
            mask = made.record(number).array("label_mask")[place]
            np.testing.assert_array_equal(mask, [[measured[y : y + 8, x : x + 8].all() for x in CELLS] for y in CELLS])
            assert 0.5 < mask.mean() < 1
    assert not made.record(1).array("label_mask")[1][-1].any(), "the padding of a view"
    nothing = made.record(3)
    assert not nothing.array("label_mask").any()
    assert not nothing.array("label_ends").any()


CELLS = range(0, 64, 8)


def test_everything_else_is_the_sets_own(world: Path) -> None:
    assert list(find_faults(world / "labelled")) == []
    rooms, made = ShardSet.open(world / "rooms"), ShardSet.open(world / "labelled")
    assert made.n_records == rooms.n_records == 4
    for number in range(4):
        one, other = rooms.record(number), made.record(number)
        assert (one.key, one.meta) == (other.key, other.meta)
        for name in ("latent", "depth"):
            np.testing.assert_array_equal(one.array(name), other.array(name))
    assert made.table("classes")[1] == {"names": ["a", "b", "c"]}
    said = made.manifest.recipe
    assert {name: said[name] for name in rooms.manifest.recipe} == rooms.manifest.recipe
    assert said["label_latents"]["of"]["fingerprint"] == rooms.manifest.fingerprint
    assert (said["label_latents"]["space"], said["label_latents"]["quantile"]) == ("depth", 0.02)


def test_after_a_kill_it_goes_on_to_the_same_bytes(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, broken = LabelLatentMaker.bake, words(world, tmp_path / "labelled")

    def killed(self: LabelLatentMaker, number: int, name: str) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return make(self, number, name)

    with monkeypatch.context() as patched:
        patched.setattr(LabelLatentMaker, "bake", killed)
        assert program.status("jobs.label_latents", broken) == 130
    assert not (tmp_path / "labelled" / "manifest.json").exists()
    capsys.readouterr()
    command.run(broken)
    assert "1 of 2 shards to bake" in capsys.readouterr().out
    assert files(tmp_path / "labelled") == files(world / "labelled")
    command.run(broken)
    assert "nothing to do" in capsys.readouterr().out
    assert program.status("jobs.label_latents", [*broken, "quantile=0.01"]) == 1
    assert "was built by another recipe" in capsys.readouterr().err
    assert files(tmp_path / "labelled") == files(world / "labelled")


def test_a_dry_run_says_the_bytes_and_writes_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run([*words(world, tmp_path / "labelled"), "--dry-run"])
    said = capsys.readouterr().out
    assert "plan: 12 views of 4 records in 2 shards" in said
    assert "plan: label_latent: float16 [4, 8, 8] a view, 6.14e-06 GB" in said  # 12 x 512 bytes
    assert "by 4 view(s) tried here" in said
    assert not (tmp_path / "labelled").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["set={world}/seg"], "has no field depth; it holds latent, label, meta"),
        (["set={world}/labelled"], "holds label latents already"),
        (["set={world}/others"], "holds latents of another encoder"),
        (["quantile=0.5"], "a share from 0, below 0.5"),
        (["space=inverse"], "space"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    for name, task in (("seg", "seg"), ("others", "depth")):
        if not (world / name).exists():
            write_set(world / name, task, weights=decoder(str(MODEL))[1] if task == "seg" else "ab")
    more = [word.replace("{world}", str(world)) for word in more]
    assert program.status("jobs.label_latents", words(world, tmp_path / "labelled", *more)) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "labelled").exists()


def test_the_page_runs_as_it_is_shown(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "CHECKOUT", None)  # relative paths start here
    for place, there in (("models/sd15", MODEL), ("data/shards/nyuv2-train", world / "rooms")):
        Path(place).parent.mkdir(parents=True)
        Path(place).symlink_to(there)
    text = (MODEL.parents[1] / "docs/methods/label_latents.md").read_text()
    line, of_normals = re.findall(r"^diffusion-perception labels ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    *told, last = shlex.split(line)
    assert last == "--dry-run"
    command.run([*told, "device=cpu", last])
    command.run([*told, "device=cpu", "out=sets/rooms-labels"])
    told = shlex.split(of_normals.replace("\\\n", " "))
    command.run([*told, "device=cpu", "intrinsics=[80,80,40,22]", "window_px=3"])
    capsys.readouterr()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, "the page", "exec"), {})
    assert capsys.readouterr().out == "(64, 64)\n"


def test_whole_cells_are_those_without_a_gap() -> None:
    measured = np.ones((16, 24), bool)
    measured[7, 8] = False
    np.testing.assert_array_equal(whole_cells(measured, 8), [[True, False, True], [True, True, True]])
