"""Baked sets: what `Features` gives, under the same keys, the same bytes after a kill, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_bake import bake_until_killed

from diffusion_perception import SetDataset, ShardSet, settings
from diffusion_perception.baking.baker import Baker
from diffusion_perception.baking.contents import field_names
from diffusion_perception.baking.forms import SCALE, error_of, float8_values, pooled, restored, stored_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.features.reading import Features
from jobs import features as command
from jobs import program
from pipeline.encoders.sd_vae import decoder
from shards.errors import ConfigError
from shards.upkeep.splitting import split_set
from shards.verify import find_faults
from tests.forked import started
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set

LAYERS = ["mid_block", "up_blocks.2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a set of three shards and one with sentences."""
    root = tmp_path_factory.mktemp("baked")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    _, weights = decoder(str(root / "model"))
    write_set(root / "whole", "seg", weights=weights)
    split_set(root / "whole", root, {"scenes": 1.0}, records_per_shard=2)
    write_set(root / "sentences", "refer", weights=weights)
    return root


@pytest.fixture(scope="module")
def baked(world: Path) -> Path:
    command.run(words(world, world / "baked"))
    return world / "baked"


def words(world: Path, out: Path, *more: str) -> list[str]:
    said = [f"model={world}/model", f"set={world}/scenes", f"out={out}", f"layers=[{', '.join(LAYERS)}]"]
    return [*said, "timestep=100", "noise=ddpm", "prompt=a room", "batch_size=3", "device=cpu", *more]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_baked_set_holds_what_features_gives_under_the_same_keys(world: Path, baked: Path) -> None:
    assert list(find_faults(baked)) == []
    scenes = SetDataset(world / "scenes")
    joined = SetDataset(baked, fields=("mid_block", "up_blocks_2"))
    features = Features.from_pretrained(str(world / "model"), device="cpu")
    assert len(joined) == len(scenes) == 6
    for one, other in zip(scenes, joined, strict=True):
        assert one["key"] == other["key"]
        options: dict[str, Any] = {"layers": LAYERS, "timestep": 100, "noise": "ddpm"}
        seen = features(latents=one["latent"][None].float(), prompts="a room", **options)
        for layer, field in zip(LAYERS, ("mid_block", "up_blocks_2"), strict=True):
            assert other[field].dtype == torch.float16
            torch.testing.assert_close(other[field].float(), seen[layer].values[0], rtol=2e-3, atol=2e-3)


def test_a_set_with_sentences_has_its_views(world: Path, tmp_path: Path) -> None:
    command.run(words(world, tmp_path / "baked", f"set={world}/sentences"))
    baked = ShardSet.open(tmp_path / "baked")
    assert baked.manifest.counts["view"] == baked.n_items == 6
    assert baked.record(0).key == ShardSet.open(world / "sentences").record(0).key


def test_means_and_eight_bits_are_as_near_as_the_recipe_says(world: Path, baked: Path, tmp_path: Path) -> None:
    command.run(words(world, tmp_path / "baked", "pool=3", "store=int8"))
    small = ShardSet.open(tmp_path / "baked")
    assert list(find_faults(tmp_path / "baked")) == []
    said = small.manifest.recipe["features"]
    assert (said["pool"], said["store"]) == (3, "int8")
    assert "a 254th of its largest value" in said["error"]
    whole = ShardSet.open(baked)
    for number in range(small.n_records):
        steps, scale = (small.record(number).array(name) for name in ("up_blocks_2", "up_blocks_2_scale"))
        assert (steps.dtype, steps.shape) == (np.int8, (1, 32, 3, 3))  # of 8 x 8, equal parts
        full = torch.from_numpy(whole.record(number).array("up_blocks_2").astype(np.float32))
        last = (full[..., 5] * 2 / 3 + full[..., 6] + full[..., 7]) * 3 / 8  # [1, 32, 8]: the last third of the columns
        ends = ((0, 1, 2), (7, 6, 5))  # rows of the first and the last third
        cell = torch.stack([(last[..., a] + last[..., b] + last[..., c] * 2 / 3) * 3 / 8 for a, b, c in ends])
        found = restored(steps.astype(np.float32), scale)
        off = np.abs(found[..., [0, 2], [2, 2]] - cell.permute(1, 2, 0).numpy())
        largest = np.abs(found).max((2, 3))
        assert (off <= largest[..., None] / 254 + 2e-3).all()  # and float16's own error
        assert np.abs(steps).max() == 127


@pytest.mark.parametrize("store", ["int8", "float8_e4m3fn"])
def test_numbers_too_small_for_a_scale_come_back_as_nothing(store: str) -> None:
    values = torch.tensor([[[[0.0, 1e-44]]]])  # whose 127th is 0 in float32
    assert (values > 0).any()
    job = settings.bind(BakeJob, {"model": "m", "set": "s", "out": "o", "layers": ["x"]})
    held = stored_of(job, "", "", values, store)
    np.testing.assert_allclose(restored(held[""], held[SCALE]), 0, atol=1e-30)


def test_the_bytes_of_float8_are_those_of_torch() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    np.testing.assert_array_equal(float8_values(), every.view(torch.float8_e4m3fn).float().numpy())


def test_which_of_the_two_is_nearer_depends_on_the_largest_numbers() -> None:
    job = settings.bind(BakeJob, {"model": "m", "set": "s", "out": "o", "layers": ["x"]})
    values = torch.randn(2, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    assert error_of(job, values, "int8") == pytest.approx(0.0075, abs=0.0015)
    assert error_of(job, values, "float8_e4m3fn") == pytest.approx(0.0265, abs=0.001)
    values[..., 0, 0] = 60
    assert error_of(job, values, "int8") > 0.05
    assert error_of(job, values, "float8_e4m3fn") < 0.02


def test_float8_is_as_near_as_the_recipe_says(
    world: Path, baked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = words(world, tmp_path / "baked", "store=float8_e4m3fn")
    command.run([*told, "--dry-run"])
    (line,) = re.findall(
        r"up_blocks.2: root mean square error of .*: (.*)% in int8, (.*)% in float8_e4m3fn", capsys.readouterr().out
    )
    command.run(told)
    small, whole = ShardSet.open(tmp_path / "baked"), ShardSet.open(baked)
    assert list(find_faults(tmp_path / "baked")) == []
    assert "a 16th of a number at most" in small.manifest.recipe["features"]["error"]
    for number in range(small.n_records):
        bits, scale = (small.record(number).array(name) for name in ("up_blocks_2", "up_blocks_2_scale"))
        assert bits.dtype == np.uint8
        full = whole.record(number).array("up_blocks_2").astype(np.float32)
        found = restored(bits, scale)
        np.testing.assert_array_equal(found, restored(torch.from_numpy(bits), torch.from_numpy(scale)).numpy())
        wide = scale[..., None, None]
        assert (np.abs(found - full) <= np.maximum(np.abs(full) / 16, wide / 1024) + 2e-3).all()
        np.testing.assert_allclose(np.abs(found).max((2, 3)), scale * 448, rtol=1e-6)
    assert 0 < float(line[0]) < float(line[1]) < 5, "int8 is nearer, where no number is far above the others"


@pytest.mark.parametrize(("side", "pool"), [(15, 2), (9, 4), (8, 2), (5, 7)])
def test_pooled_cells_lie_where_equal_parts_do(side: int, pool: int) -> None:
    told = {"model": "m", "set": "s", "out": "o", "layers": ["x"], "pool": pool}
    job = settings.bind(BakeJob, told)
    centres = (torch.arange(side) + 0.5) / side  # of rows, in shares of the picture
    ramp = centres[:, None].expand(side, side)[None, None]
    found = pooled(job, torch.cat([ramp, ramp.mT], 1))
    cells = -(-side // pool)
    expected = (torch.arange(cells) + 0.5) / cells
    assert found.shape == (1, 2, cells, cells)
    within = 0.3 / side  # a mean over parts of rows knows their means alone
    torch.testing.assert_close(found[0, 0], expected[:, None].expand(cells, cells), rtol=0, atol=within)
    torch.testing.assert_close(found[0, 1], expected[None].expand(cells, cells), rtol=0, atol=within)
    torch.testing.assert_close(pooled(job, torch.ones(1, 1, side, side)), torch.ones(1, 1, cells, cells))


def test_after_a_kill_a_bake_goes_on_to_the_same_bytes(
    world: Path, baked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bake = Baker.bake

    def killed(self: Baker, number: int, name: str) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return bake(self, number, name)

    broken = words(world, tmp_path / "killed" / "baked")
    with monkeypatch.context() as patched:
        patched.setattr(Baker, "bake", killed)
        assert program.status("jobs.features", broken) == 130
    capsys.readouterr()
    command.run(broken)
    assert "2 of 3 shards to bake" in capsys.readouterr().out
    assert files(tmp_path / "killed" / "baked") == files(baked)
    command.run(broken)
    assert "already baked, nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(("moment", "left"), [("shard", 2), ("seal", 0)])
def test_after_a_kill_without_warning_a_bake_goes_on_to_the_same_bytes(
    world: Path, baked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], moment: str, left: int
) -> None:
    broken = words(world, tmp_path / "baked")
    process = started(bake_until_killed, broken, moment, torch.get_num_threads())
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "baked" / "manifest.json").exists()
    command.run(broken)
    assert f"{left} of 3 shards to bake" in capsys.readouterr().out
    assert files(tmp_path / "baked") == files(baked)


def test_a_shard_that_was_damaged_meanwhile_is_baked_again(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("diffusion_perception.baking.bake.seal_set", killed)
        assert program.status("jobs.features", words(world, tmp_path / "baked")) == 130
    (tmp_path / "baked" / "baked-000001.tar").write_bytes(b"cut")
    command.run(words(world, tmp_path / "baked"))
    assert "baked-000001 is baked again" in capsys.readouterr().out
    assert ShardSet.open(tmp_path / "baked").n_records == 6


def test_a_dry_run_says_the_bytes_and_writes_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run([*words(world, tmp_path / "baked"), "--dry-run"])
    said = capsys.readouterr().out
    assert "plan: 6 views of 6 records in 3 shards" in said
    assert "plan: up_blocks.2: field up_blocks_2, float16 [32, 8, 8] a view, 2.46e-05 GB" in said  # 6 x 4096 bytes
    assert "by 3 view(s) tried here" in said, "a batch, of several records"
    assert not (tmp_path / "baked").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["timestep=50"], "was built by another recipe"),
        (["layers=[up_blocks.2, up_blocks.9]"], "layer 'up_blocks.9' is none of"),
        (["layers=[]"], "setting 'layers' is empty"),
        (["batch_size=0"], "expected 1 or more"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, baked: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    before = files(baked)
    assert program.status("jobs.features", words(world, baked, *more)) == 1
    assert said in capsys.readouterr().err
    assert files(baked) == before


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [("vae/config.json", "scaling_factor", 0.5), ("scheduler/scheduler_config.json", "beta_end", 0.1)],
)
def test_a_model_of_the_same_weights_that_makes_something_else_of_latents_is_another(
    world: Path, baked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, setting: str, value: float
) -> None:
    shutil.copytree(world / "model", tmp_path / "model")
    config = tmp_path / "model" / part
    config.write_text(json.dumps(json.loads(config.read_text()) | {setting: value}))
    assert program.status("jobs.features", words(world, baked, f"model={tmp_path}/model")) == 1
    assert "was built by another recipe" in capsys.readouterr().err


def test_a_layer_with_the_name_of_anothers_scales_is_refused() -> None:
    said = {"model": "m", "set": "s", "out": "o", "layers": ["up_blocks.1.x", "up_blocks.1.x_scale"]}
    with pytest.raises(ConfigError, match=r"layer 'up_blocks.1.x_scale' would be the field up_blocks_1_x_scale, which"):
        field_names(settings.bind(BakeJob, said | {"store": "int8"}))
    assert list(field_names(settings.bind(BakeJob, said)).values()) == ["up_blocks_1_x", "up_blocks_1_x_scale"]


def test_latents_of_other_channels_are_one_message(world: Path) -> None:
    baker = Baker(
        settings.bind(BakeJob, {"model": f"{world}/model", "set": f"{world}/scenes", "out": "x", "layers": LAYERS})
    )
    with pytest.raises(ConfigError, match=r"latents of 16 channels, .*/model reads 4"):
        baker.try_views([np.zeros((16, 8, 8), np.float16)])


def test_numbers_that_float16_cannot_hold_are_refused(world: Path, tmp_path: Path) -> None:
    told = [*words(world, tmp_path / "baked"), "latent_scale=1e30"]
    assert program.status("jobs.features", told) == 1
    assert not (tmp_path / "baked" / "manifest.json").exists()
