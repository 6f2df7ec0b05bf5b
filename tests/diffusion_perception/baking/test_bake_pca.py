"""Components in place of channels: how near they come, the same bytes after a kill, and what is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion_perception import ShardSet
from diffusion_perception.baking import pca
from diffusion_perception.baking.baker import Baker
from jobs import features as command
from jobs import program
from pipeline.encoders.sd_vae import decoder
from shards.errors import ConfigError
from shards.upkeep.splitting import split_set
from shards.verify import find_faults
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set
from vpd.features.components import Moments

FIELD = "up_blocks_2"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a set of three shards, and its layer baked in float32."""
    root = tmp_path_factory.mktemp("components")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    write_set(root / "whole", "seg", weights=decoder(str(root / "model"))[1])
    split_set(root / "whole", root, {"scenes": 1.0}, records_per_shard=2)
    command.run(words(root, root / "full"))
    return root


def words(world: Path, out: Path, *more: str) -> list[str]:
    said = [f"model={world}/model", f"set={world}/scenes", f"out={out}", "layers=[up_blocks.2]", "device=cpu"]
    return [*said, "store=float32", "batch_size=3", *more]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def maps(folder: Path) -> np.ndarray:
    shards = ShardSet.open(folder)
    return np.concatenate([shards.record(number).array(FIELD) for number in range(shards.n_records)])


def test_components_are_those_of_the_sample_and_all_of_them_are_the_features(world: Path, tmp_path: Path) -> None:
    command.run(words(world, tmp_path / "all", "pca=32"))
    command.run(words(world, tmp_path / "few", "pca=5", "pca_records=3"))
    assert list(find_faults(tmp_path / "few")) == []
    full, whole, few = maps(world / "full"), ShardSet.open(tmp_path / "all"), ShardSet.open(tmp_path / "few")
    assert np.abs(pca.spread(maps(tmp_path / "all"), whole.table("pca")[0][FIELD]) - full).max() < 1e-5
    arrays, info = few.table("pca")
    sample = full[[0, 2, 4]].transpose(1, 0, 2, 3).reshape(32, -1).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(sample, bias=True))
    assert arrays[FIELD].shape == (6, 32)
    np.testing.assert_allclose(arrays[FIELD][0], sample.mean(1), atol=1e-6)
    np.testing.assert_allclose(np.abs(arrays[FIELD][1:] @ directions[:, ::-1][:, :5]), np.eye(5), atol=1e-4)
    assert info["explained"][FIELD] == pytest.approx(variances[-5:].sum() / variances.sum(), abs=1e-5)
    assert (info["components"], info["records"], info["set"]) == (5, 3, "scenes")
    assert few.manifest.recipe["components"]["explained"] == info["explained"]
    off = pca.spread(maps(tmp_path / "few"), arrays[FIELD]) - full
    left = (off[[0, 2, 4]] ** 2).mean((0, 2, 3)).sum() / variances.sum()
    assert left == pytest.approx(1 - info["explained"][FIELD], abs=1e-4)


def test_after_a_kill_components_are_not_fitted_again(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("pca=4", "store=int8", "pool=2")
    command.run(words(world, tmp_path / "whole" / "baked", *more))
    assert "fitting 4 components" in capsys.readouterr().out
    broken, bake = words(world, tmp_path / "killed" / "baked", *more), Baker.bake

    def killed(self: Baker, number: int, name: str) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return bake(self, number, name)

    with monkeypatch.context() as patched:
        patched.setattr(Baker, "bake", killed)
        assert program.status("jobs.features", broken) == 130
    with monkeypatch.context() as patched:
        patched.setattr(Baker, "_fitted", lambda self: pytest.fail("fitted again"))
        capsys.readouterr()
        command.run(broken)
        assert "2 of 3 shards to bake" in capsys.readouterr().out
        assert files(tmp_path / "killed" / "baked") == files(tmp_path / "whole" / "baked")
        command.run(broken)
        assert "already baked, nothing to do" in capsys.readouterr().out
        assert program.status("jobs.features", [*broken, "pca=5"]) == 1
    assert "was built by another recipe" in capsys.readouterr().err
    assert files(tmp_path / "killed" / "baked") == files(tmp_path / "whole" / "baked")


def test_what_another_driver_fitted_meanwhile_is_taken(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last bits may be others, as on another GPU, and it may have shards by them."""
    fit, kept, theirs = Baker._fitted, tmp_path / "out" / "_build", list[str]()

    def later(self: Baker) -> pca.Components:
        found = fit(self)
        return pca.Components({name: array + 1 for name, array in found.arrays.items()}, found.info)

    def beside_another(self: Baker) -> pca.Components:
        monkeypatch.setattr(Baker, "_fitted", later)
        theirs.append(Baker(self.job).recipe["components"]["basis_sha256"])
        return fit(self)

    monkeypatch.setattr(Baker, "_fitted", beside_another)
    command.run(words(world, tmp_path / "out", "pca=4", "pca_records=2"))
    assert not kept.exists()
    assert [ShardSet.open(tmp_path / "out").manifest.recipe["components"]["basis_sha256"]] == theirs


def test_a_test_set_takes_the_components_of_training(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run(words(world, tmp_path / "train", "pca=4", "pca_records=2"))
    again = words(world, tmp_path / "test", f"pca_from={tmp_path}/train")
    command.run([*again, "pca=4"])
    one, other = (ShardSet.open(tmp_path / name) for name in ("train", "test"))
    assert other.manifest.recipe["components"] == one.manifest.recipe["components"]
    np.testing.assert_array_equal(maps(tmp_path / "train"), maps(tmp_path / "test"))
    command.run([*again, "pca=4"])
    assert "already baked" in capsys.readouterr().out
    another = tmp_path / "another"
    shutil.copytree(world / "model", another)
    weights = load_file(file := another / "unet" / "diffusion_pytorch_model.safetensors")
    save_file({name: values * 2 for name, values in weights.items()}, file)
    for more, said in (
        (["pca=5"], "pca_from: train has 4 components, pca is 5"),
        (["pca=4", "layers=[mid_block]"], "train has no components of mid_block, only of the fields up_blocks_2"),
        (["pca=4", f"pca_from={world}/full"], "pca_from: full has channels, pca is 4"),
        (["pca=4", "timestep=50"], "train are of other features than these:\n  timestep: 50.0 here, 1.0 in train"),
        (["pca=4", "pool=2"], "pool: 2 here, absent in train"),
        (["pca=4", f"model={another}"], "weights: "),
        ([], "pca_from only with as many"),
    ):
        assert program.status("jobs.features", [*again, f"out={tmp_path}/other", *more]) == 1
        assert said in capsys.readouterr().err
    assert program.status("jobs.features", [*again, f"out={tmp_path}/other", "pca=5", "--dry-run"]) == 1
    assert "pca_from: train has 4 components, pca is 5" in capsys.readouterr().err
    command.run([*again, f"out={tmp_path}/other", "pca=4", "--dry-run"])
    assert f"4 components a layer are taken from {tmp_path}/train" in capsys.readouterr().out
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_is_one_message_and_nothing_is_written(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status("jobs.features", words(world, tmp_path / "out", "pca=33")) == 1
    assert "pca is 33, layer up_blocks.2 has 32 channels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "begun" / "_build").mkdir(parents=True)
    (tmp_path / "begun" / "_build" / "made.json").write_text(json.dumps({"another": 1}))
    assert program.status("jobs.features", words(world, tmp_path / "begun", "pca=4")) == 1
    assert "holds shards of something else" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "begun" / "_build").iterdir()] == ["made.json"]


def test_features_that_are_no_numbers_have_no_components(world: Path) -> None:
    maps = torch.ones(2, 4, 3, 3)
    maps[1, 2, 0, 0] = float("nan")
    with pytest.raises(ConfigError, match="field up_blocks_2: some features are NaN or infinite"):
        pca.fitted(ShardSet.open(world / "scenes"), 2, 2, [{FIELD: maps}])


def test_a_dry_run_says_the_bytes_of_components_and_fits_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run([*words(world, tmp_path / "out", "pca=4", "pca_records=3"), "--dry-run"])
    said = capsys.readouterr().out
    assert "field up_blocks_2, float32 [4, 8, 8] a view" in said
    assert "plan: 4 components a layer are fitted on 3 records first" in said
    assert "fitting" not in said
    assert not (tmp_path / "out").exists()


def test_components_have_the_same_bytes_at_any_number_of_threads() -> None:
    values = torch.randn(8, 48, 16, 16, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 4):
            torch.set_num_threads(number)
            moments = Moments(48)
            for part in values.split(2):
                moments.add(part)
            found.append(moments.components(6))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    (mean, directions, share), (other_mean, others, other_share) = found
    assert torch.equal(mean, other_mean)
    assert torch.equal(directions, others)
    assert share == other_share
    assert (directions.gather(0, directions.abs().argmax(0)[None]) > 0).all(), "the sign is that of the largest"


def test_components_found_side_by_side_leave_the_number_of_threads() -> None:
    threads, moments = torch.get_num_threads(), Moments(96)
    moments.add(torch.randn(4, 96, 8, 8, generator=torch.Generator().manual_seed(0)))
    counts = list[int]()
    set_number = torch.set_num_threads

    def noted(number: int) -> None:
        counts.append(number)
        set_number(number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "set_num_threads", noted)
        patched.setattr(torch, "get_num_threads", lambda: counts[-1] if counts else 7)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: moments.components(3), range(32)))
    set_number(threads)
    assert counts == [1, 7] * 32
