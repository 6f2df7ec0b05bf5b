"""`--dry-run` of a build binds every plug-in of every split and refuses what the build would refuse."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from toy_jobs import build_settings

from diffusion_perception.building.builder import BuildJob, placed
from diffusion_perception.building.forecast import forecast_build
from diffusion_perception.settings import bind, read_file
from jobs import build_shards
from pipeline.building import ledger
from shards.errors import ConfigError, ContractError

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def build_file(unet_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of two splits of four pictures with labels of three classes."""
    folder = tmp_path_factory.mktemp("build")
    rng = np.random.default_rng(0)
    for split in SPLITS:
        for kind, picture in (("images", rng.integers(0, 255, (40, 48, 3))), ("labels", rng.integers(0, 3, (40, 48)))):
            (folder / "data" / kind / split).mkdir(parents=True)
            for number in range(4):
                Image.fromarray(picture.astype(np.uint8)).save(folder / "data" / kind / split / f"{number}.png")
    job = {
        "name": "toy",
        "source": {
            "name": "image_folders",
            "root": str(folder / "data"),
            "classes": ["a", "b", "c"],
            "splits": list(SPLITS),
        },
        "splits": list(SPLITS),
        "views": {"name": "segmentation", "mode": "k", "k": 3, "crop": 64, "base": [256, 64]},
        "views_of": {"val": {"name": "exact", "size": 64}},
        "image": {"name": "sd_vae", "model": str(unet_only)},
        "text": {"name": "clip_text", "model": str(unet_only), "length": 12},
        "prompts": {"templates": "photo"},
        "out": str(folder / "out"),
        "settings": {"records_per_shard": 3},
    }
    (folder / "build.yaml").write_text(yaml.safe_dump(job))
    return folder / "build.yaml"


def test_a_build_is_planned_split_by_split(build_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_shards.run(["--config", str(build_file), "--dry-run"])
    printed = capsys.readouterr().out
    assert "plan: toy-train: 2 shards\n" in printed
    assert "plan:   4 records, 4 items, 12 views, 0 sentences in 2 shards" in printed
    assert f"latents {12 * 4 * 8 * 8 * 2 / 1e6:.1f} MB" in printed
    assert "plan:   4 records, 4 items, 4 views, 0 sentences in 2 shards" in printed
    assert "pictures that a build will reject are counted with the others here: `check` opens every file" in printed
    assert not (build_file.parent / "out").exists()


def test_several_views_of_a_sentence_s_picture_are_refused(world: Path, unet_only: Path, tmp_path: Path) -> None:
    """A sample of such a set is a sentence with the first view: the others would never be used."""
    views = {"name": "segmentation", "mode": "k", "k": 3, "crop": 64, "base": [256, 64]}
    changed = {"views": views, "views_of": {"val": {"name": "exact", "size": 64}}}
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(build_settings(world, unet_only, tmp_path / "out", **changed)))
    with pytest.raises(ConfigError, match=r"views cut several of a picture \(train: 3\).*views=exact; or .*data.mix"):
        build_shards.run(["--config", str(tmp_path / "build.yaml"), "--dry-run"])


WRONG_BUILDS = [
    ("source.nonsense=1", r"unknown setting 'source\.nonsense'.* image_folders reads: "),
    ("source={name: image_folder}", "Did you mean 'image_folders'"),
    ("source.root=/absent", "/absent"),
    ("views.crops=64", r"unknown setting 'views\.crops'. Did you mean 'crop'"),
    ("views={name: exact, size: 60}", "each side must be a multiple of 8"),
    ("views_of={val: {name: exact, sizes: 64}}", r"unknown setting 'views_of\.val\.sizes'. Did you mean 'size'"),
    ("views_of={vall: {name: exact, size: 64}}", "'vall', which is not built.* Did you mean 'val'"),
    ("splits=[]", "'splits' is empty"),
    ("splits=[train, train]", "different splits"),
    ("splits=[trai]", "trai"),
    ("image.nonsense=1", r"unknown setting 'image\.nonsense'"),
    ("image.revison=x", "Did you mean 'revision'"),
    ("image={name: sd_va}", "Did you mean 'sd_vae'"),
    ("image.model=/absent", "/absent"),
    ("text.lenght=12", "Did you mean 'length'"),
    ("text=null", "'prompts' encodes the source's class names with the 'text' encoder"),
    ("prompts.templates=a photo", "needs the class name exactly once"),
    ("prompts={templates: imagenet_80, mode: tokens}", "keeps every token of ONE prompt"),
    ("prompts.template=photo", "Did you mean 'templates'"),
    ("settings.text=stats", "expected one of states, tokens"),
    ("settings.records_per_shard=0", "records_per_shard is 0"),
    ("settings.image_bach=4", "Did you mean 'image_batch'"),
    ("resources.actors=-1", "actors -1"),
    ("out=https://host/x", "can be read and not written"),
]


@pytest.mark.parametrize(("setting", "message"), WRONG_BUILDS, ids=[setting for setting, _ in WRONG_BUILDS])
def test_a_wrong_build_is_refused(build_file: Path, setting: str, message: str) -> None:
    with pytest.raises(ContractError) as refused:
        build_shards.run(["--config", str(build_file), "--dry-run", setting])
    assert re.search(message, str(refused.value), re.DOTALL), str(refused.value)


def test_a_folder_begun_by_another_recipe_is_refused_without_weights(build_file: Path, tmp_path: Path) -> None:
    (tmp_path / "toy-train").mkdir()
    ledger.open_build(tmp_path / "toy-train", {"source": {"name": "elsewhere"}, "split": "train"})
    with pytest.raises(ContractError, match=r"(?s)by another recipe:.*source\.name: .* here, 'elsewhere' in"):
        build_shards.run(["--config", str(build_file), "--dry-run", f"out={tmp_path}"])


def test_a_dry_run_needs_no_ray(build_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    build_shards.run(["--config", str(build_file), "--dry-run"])
    with pytest.raises(ImportError):
        build_shards.run(["--config", str(build_file)])


def test_actors_are_begun_after_what_needs_no_file_and_before_the_source_is_read(
    build_file: Path, tmp_path: Path
) -> None:
    begun: list[str] = []

    def refused(setting: str, value: str) -> str:
        job = placed(bind(BuildJob, read_file(str(build_file), [(setting, value)])))
        with pytest.raises(ContractError) as error:
            forecast_build(job, lambda: begun.append("begun"))
        return str(error.value)

    assert "nowhere" in refused("image.model", f"{tmp_path}/nowhere")
    assert begun == []
    assert "elsewhere" in refused("source.root", f"{tmp_path}/elsewhere")
    assert begun == ["begun"]
