"""Pictures that are no set: the bytes of a build and a bake of it, also after a kill, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception import ShardSet, settings
from diffusion_perception.baking import from_pictures
from diffusion_perception.baking.baker import Baker
from diffusion_perception.building.builder import BuildJob, ShardBuilder
from diffusion_perception.building.forecast import forecast_build
from diffusion_perception.building.split import build_split, built_here
from jobs import features as command
from jobs import program
from jobs.command_line import CommandLine
from shards.errors import ConfigError
from shards.verify import find_faults
from tests.tiny_pipelines import tiny_pipeline

SIZE_PX = 64


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, five pictures in two folders, and a file that is none."""
    root = tmp_path_factory.mktemp("pictures")
    tiny_pipeline("sd15", root / "words").save_pretrained(root / "model")
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.png", "e.png"):
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (48, 80, 3), np.uint8)).save(root / "photos" / name)
    (root / "photos" / "broken.png").write_bytes(b"no picture")
    (root / "photos" / "few.txt").write_text("b.png\nsub/c\n")
    return root


@pytest.fixture(scope="module")
def baked(world: Path) -> Path:
    command.run(words(world, world / "one" / "baked"))
    return world / "one" / "baked"


def words(world: Path, out: Path, *more: str) -> list[str]:
    said = [f"model={world}/model", f"pictures={world}/photos", f"out={out}", "layers=[up_blocks.2]", "prompt=a room"]
    cut = [f"latents.views={{name: exact, size: {SIZE_PX}}}", "latents.build.records_per_shard=2"]
    return [*said, *cut, "latents.build.max_rejects=0.2", "batch_size=3", "device=cpu", *more]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def built(world: Path, out: Path) -> Path:
    """The set of the pictures, by the build of configs/build/own_pictures.yaml without text."""
    said = [
        *("name=pictures", f"source.root={world}/photos", "source.images=.", "source.captions=", "text=null"),
        *(f"image.model={world}/model", "image.revision=null", "image.logvar=false", f"out={out}"),
        *(f"views.size={SIZE_PX}", "settings.records_per_shard=2", "settings.max_rejects=0.2"),
        f"resources.cpus_per_actor={torch.get_num_threads()}",
    ]
    overrides = CommandLine.parse(said).overrides
    job = settings.bind(BuildJob, settings.read_file("configs/build/own_pictures.yaml", overrides))
    source, splits = forecast_build(job)
    builder = ShardBuilder(job, "cpu", source)
    build_split(job, source, splits["train"], builder.describe("train"), built_here(builder, "build"))
    return out / "pictures-train"


def test_pictures_give_the_bytes_of_a_build_and_a_bake_of_its_set(world: Path, baked: Path, tmp_path: Path) -> None:
    pictures = built(world, tmp_path)
    out = tmp_path / "baked"
    command.run(
        [word for word in words(world, out, f"set={pictures}") if not word.startswith(("pictures=", "latents."))]
    )
    assert files(out) == files(baked)
    assert list(find_faults(baked)) == []
    shards = ShardSet.open(baked)
    keys = [shards.record(number).key for number in range(shards.n_records)]
    assert keys == ["a", "b", "e", "sub%2Fc", "sub%2Fd"]
    assert shards.record(0).array("up_blocks_2").shape == (1, 32, 8, 8)


def test_given_again_nothing_is_done_and_other_pictures_are_another_set(
    world: Path, baked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(baked)
    with monkeypatch.context() as patched:
        patched.setattr(ShardBuilder, "build", lambda *_: pytest.fail("latents were built"))
        command.run(words(world, baked))
        assert "already baked, nothing to do" in capsys.readouterr().out
        for more, said in (
            (["timestep=50"], "timestep: 50.0 here, 1.0 in baked"),
            ([f"pictures={world}/photos/few.txt"], "fingerprint: "),
            (["latents.views={name: exact, size: 128}"], "fingerprint: "),
        ):
            assert program.status("jobs.features", words(world, baked, *more)) == 1
            error = capsys.readouterr().err
            assert "baked was built by another recipe" in error
            assert said in error
            assert "is about the pictures" in error
    assert files(baked) == before


@pytest.mark.parametrize("moment", ["latents", "features"])
def test_after_a_kill_a_bake_of_pictures_goes_on_to_the_same_bytes(
    world: Path,
    baked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    owner, method = (ShardBuilder, "build") if moment == "latents" else (Baker, "bake")
    work, calls = getattr(owner, method), list[int]()

    def killed(*given: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return work(*given)

    broken = words(world, tmp_path / "baked")
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, killed)
        assert program.status("jobs.features", broken) == 130
    capsys.readouterr()
    command.run(broken)
    said = capsys.readouterr().out
    assert ("3 of 3 shards to bake" in said) == (moment == "latents")
    assert ("2 of 3 shards to bake" in said) == (moment == "features")
    assert "left out: broken: " in said
    assert files(tmp_path / "baked") == files(baked)


def test_patterns_and_lists_choose_pictures(world: Path, tmp_path: Path) -> None:
    for pictures, expected in (
        (f"{world}/photos/**/[bc].png", ["b", "sub%2Fc"]),
        (f"{world}/photos/few.txt", ["b", "sub%2Fc"]),
    ):
        out = tmp_path / str(len(pictures))
        command.run(words(world, out, f"pictures={pictures}"))
        shards = ShardSet.open(out)
        assert [shards.record(number).key for number in range(shards.n_records)] == expected


def test_a_dry_run_says_what_both_take_and_writes_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run([*words(world, tmp_path / "baked", "pca=4"), "--dry-run"])
    said = capsys.readouterr().out
    assert "latents first:   6 records, 6 items, 6 views, 0 sentences in 3 shards" in said
    assert "1 of these cannot be read: left out, or the end of the bake above latents.build.max_rejects=" in said
    assert "plan: 6 views of 6 records in 3 shards" in said
    assert "plan: up_blocks.2: field up_blocks_2, float16 [4, 8, 8] a view, 3.07e-06 GB" in said
    assert "h for latents, by 3 picture(s) tried here" in said
    assert not (tmp_path / "baked").exists()


def test_what_cannot_be_is_one_message(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for more, said in (
        ([f"pictures={tmp_path}/empty"], f"no picture in {tmp_path}/empty; expected .jpg"),
        ([f"pictures={tmp_path}/empty/*.jpg"], f"no picture in {tmp_path}/empty that *.jpg matches"),
        ([f"pictures={tmp_path}/none"], "none: no folder there. Expected a folder of pictures"),
        (["pictures=s3://bucket/photos"], "not from a URL"),
        (["latents.build.max_rejects=0.1"], "1 of 6 examples were rejected, max_rejects allows 10.00%:\n  broken: "),
        ([f"set={world}/photos"], "in its place the folder of pictures"),
        (["latents.views={name: exact, size: 60}"], "60"),
    ):
        assert program.status("jobs.features", words(world, tmp_path / "baked", *more)) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "baked" / "manifest.json").exists()
    with pytest.raises(ConfigError, match="set is '', pictures ''"):
        command.run(words(world, tmp_path / "baked", "pictures="))


def test_a_pattern_below_a_folder_with_brackets_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "shots [20]").mkdir()
    found = from_pictures._where(f"{tmp_path}/shots [20]/*.png")
    assert (found["root"], found["images"]) == (f"{tmp_path}/shots [20]", "*.png")
