"""A published model predicts what its run predicts, from a folder, a URL and the hub; a damaged one is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion_perception import Predictor, hub
from diffusion_perception.zoo.card import CARD
from diffusion_perception.zoo.job import PublishJob
from diffusion_perception.zoo.writing import publish
from shards.errors import ConfigError, CorruptCheckpoint, FingerprintMismatch
from vpd.exchange.digests import DIGESTS
from vpd.exchange.pretrained import read_blueprint

RunOf = Callable[[str], Path]
PICTURE = np.random.default_rng(0).integers(0, 255, (70, 110, 3), np.uint8)
KINDS = ("refer", "seg", "depth", "pose", "meta_depth", "meta_seg")


def predicted(predictor: Predictor) -> np.ndarray:
    return predictor(PICTURE, ["the red chair", "a wall"] if predictor.task.uses_text else ())


def released(run: Path, out: Path, **settings: Any) -> Path:
    publish(PublishJob(run=str(run), out=str(out), **settings))
    return out


@pytest.fixture(scope="module")
def depth_run(run_of: RunOf) -> Path:
    return run_of("depth")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_predicts_to_the_bit_what_its_run_does_and_needs_nothing_else(
    kind: str, run_of: RunOf, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Predictor(str(run_of(kind)), device="cpu")
    assert trained.trained.averaged
    trained.save_pretrained(tmp_path / "made")
    elsewhere = shutil.move(tmp_path / "made", tmp_path / "elsewhere")
    names = {path.suffix for path in Path(elsewhere).rglob("*") if path.is_file()}
    assert names <= {".safetensors", ".json", ".md", ".txt"}
    private = [str(tiny_sd), str(run_of(kind).parent), "/private"]
    texts = [path.read_text() for path in Path(elsewhere).glob("*.[jm]*")]
    assert not [place for place in private for text in texts if place in text], "what a machine's folders are called"
    assert not any("optimizer" in text or "exp_avg" in text for text in texts)
    monkeypatch.setattr("shards.models.parts.cached_snapshot", lambda *_: pytest.fail("asked a hub"))
    found = Predictor.from_pretrained(str(elsewhere), device="cpu")
    assert found.trained.averaged
    assert found.trained.class_names == trained.trained.class_names
    assert dict(found.trained.predict_views) == dict(trained.trained.predict_views)
    np.testing.assert_array_equal(predicted(found), predicted(trained))


def test_half_precision_halves_the_parameters_and_keeps_statistics_and_tables(depth_run: Path, tmp_path: Path) -> None:
    whole, half = (released(depth_run, tmp_path / dtype, dtype=dtype) for dtype in ("float32", "float16"))
    weights = load_file(half / "model.safetensors")
    kinds = {value.dtype for name, value in weights.items() if "running_" in name or name == "class_embeddings"}
    assert kinds == {torch.float32}
    assert weights["backbone.unet.conv_in.weight"].dtype == torch.float16
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, whole)]
    assert sizes[0] < 0.55 * sizes[1]
    exact, near = (predicted(Predictor.from_pretrained(str(folder), device="cpu")) for folder in (whole, half))
    assert not np.array_equal(exact, near)
    np.testing.assert_allclose(near, exact, atol=0.05)


def test_numbers_beyond_half_precision_are_refused(run_of: RunOf, tmp_path: Path) -> None:
    whole = released(run_of("seg"), tmp_path / "whole")
    weights = load_file(whole / "model.safetensors")
    weights["backbone.unet.conv_in.bias"][0] = 1e6
    save_file(weights, whole / "model.safetensors")
    (whole / DIGESTS).unlink()
    with pytest.raises(ConfigError, match=r"dtype=float16: 1 weights are not finite in it, such as backbone.unet.conv"):
        released(whole, tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()


def test_a_model_folder_is_published_again_with_what_is_known_of_it(depth_run: Path, tmp_path: Path) -> None:
    first = released(depth_run, tmp_path / "first")
    again = released(first, tmp_path / "again", dtype="bfloat16")
    assert (again / "training.json").read_bytes() == (first / "training.json").read_bytes()
    assert read_blueprint(again).origin == {**read_blueprint(first).origin, "dtype": "bfloat16"}
    assert (again / "vae/config.json").is_file()


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = released(depth_run, tmp_path / "made")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/thesis.txt").touch()
    with pytest.raises(ConfigError, match="something already; --replace overwrites a model"):
        released(depth_run, out)
    for flag in (False, True):
        with pytest.raises(ConfigError, match=r"and it is no model\. Give a new folder"):
            publish(PublishJob(run=str(depth_run), out=str(tmp_path / "papers")), replace_there=flag)
    publish(PublishJob(run=str(depth_run), out=str(out), dtype="float16"), replace_there=True)
    assert load_file(out / "model.safetensors")["backbone.unet.conv_in.weight"].dtype == torch.float16

    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vpd.exchange.digests.write_digests", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(PublishJob(run=str(depth_run), out=str(tmp_path / "new")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "papers"]


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_file_that_is_not_the_published_one_is_named(damage: str, depth_run: Path, tmp_path: Path) -> None:
    out = released(depth_run, tmp_path / "made")
    file = out / "vae/diffusion_pytorch_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content)) if damage == "flipped" else file.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"vae/diffusion_pytorch_model\.safetensors"):
        Predictor.from_pretrained(str(out), device="cpu")


def test_encoders_are_the_training_sets_or_refused(depth_run: Path, tmp_path: Path) -> None:
    from demo.tiny_sd import write_tiny_sd

    write_tiny_sd(tmp_path / "other", widths=(16, 32, 32, 32), layers=1, seed=5)
    with pytest.raises(FingerprintMismatch, match="the image encoder of this configuration is not the one"):
        released(depth_run, tmp_path / "made", base=str(tmp_path / "other"))
    with pytest.raises(ConfigError, match=r"encoders=named: the image encoder is .* a place that other machines"):
        released(depth_run, tmp_path / "made", encoders="named")
    assert not (tmp_path / "made").exists()


def test_encoders_are_named_by_their_id_on_the_hub(
    depth_run: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards.models.parts.cached_snapshot", lambda *_: tiny_sd)
    out = released(depth_run, tmp_path / "made", encoders="named", base="somebody/sd")
    assert read_blueprint(out).encoders["image"]["model"] == "somebody/sd"
    assert not (out / "vae").exists()
    found = Predictor.from_pretrained(str(out), device="cpu")
    np.testing.assert_array_equal(predicted(found), predicted(Predictor(str(depth_run), device="cpu")))


def test_pickled_and_split_encoders_become_one_safetensors_file(depth_run: Path, tiny_sd: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_sd, tmp_path / "base")
    weights = load_file(base / "vae/diffusion_pytorch_model.safetensors")
    (base / "vae/diffusion_pytorch_model.safetensors").unlink()
    names, index = sorted(weights), {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"diffusion_pytorch_model-{number}.bin"
        torch.save({name: weights[name] for name in part}, base / "vae" / file)
        index |= dict.fromkeys(part, file)
    (base / "vae/diffusion_pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    out = released(depth_run, tmp_path / "made", base=str(base))
    assert not list(out.rglob("*.bin*"))
    assert sorted(load_file(out / "vae/diffusion_pytorch_model.safetensors")) == names


def test_a_url_holds_a_model_only_when_it_is_whole_and_a_second_start_goes_on(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, said = f"memory://{uuid.uuid4().hex}/models/depth", []
    job = PublishJob(run=str(depth_run), out=url)
    from shards.storage.remote import RemoteFolder

    upload, sent = RemoteFolder.publish, []

    def failing(self: Any, path: Path, name: str, sha256: str) -> None:
        if len(sent) == 3:
            raise KeyboardInterrupt
        sent.append(name)
        upload(self, path, name, sha256)

    monkeypatch.setattr(RemoteFolder, "publish", failing)
    with pytest.raises(KeyboardInterrupt):
        publish(job)
    with pytest.raises(ConfigError, match="no published model there"):
        Predictor.from_pretrained(url)
    monkeypatch.setattr(RemoteFolder, "publish", upload)
    publish(job, say=said.append)
    assert any("3 were there; each compared" in line for line in said), said
    expected = predicted(Predictor(str(depth_run), device="cpu"))
    found = Predictor.from_pretrained(url, device="cpu")
    np.testing.assert_array_equal(predicted(found), expected)
    fsspec.filesystem("memory").rm(f"{url}/model.safetensors")
    again = Predictor(url, device="cpu")  # as `predict run=URL` names it; what is here is not fetched again
    assert again.trained.home == found.trained.home
    with pytest.raises(ConfigError, match="a model is published there"):
        publish(job)


def test_at_a_url_nothing_is_overwritten_unasked_and_a_failure_leaves_what_was_there(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory, root = fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}"
    for folder, name in (("set", "manifest.json"), ("converted", "config.json")):
        memory.pipe_file(f"{root}/{folder}/{name}", b"mine")
        why = r"something already \(manifest\.json\)" if folder == "set" else r"config\.json is there with other bytes"
        with pytest.raises(ConfigError, match=why):
            publish(PublishJob(run=str(depth_run), out=f"{root}/{folder}"))
        assert [Path(path).name for path in memory.find(f"{root}/{folder}")] == [name]
        assert memory.cat_file(f"{root}/{folder}/{name}") == b"mine"
    with pytest.raises(ConfigError, match="and it is no model"):
        publish(PublishJob(run=str(depth_run), out=f"{root}/set"), replace_there=True)
    url = f"{root}/depth"
    publish(PublishJob(run=str(depth_run), out=url))
    kept = tmp_path / "cache/diffusion-perception/models"
    for name, age_s in (("killed", 2 * hub.ABANDONED_S), ("running", 60)):
        (kept / f".fetching-{name}/model").mkdir(parents=True)
        for folder in (kept / f".fetching-{name}/model", kept / f".fetching-{name}"):
            os.utime(folder, (time.time() - age_s,) * 2)
    with pytest.raises(ConfigError, match="encoders=named"):  # found after the place was looked at
        publish(PublishJob(run=str(depth_run), out=url, encoders="named"), replace_there=True)
    assert Predictor.from_pretrained(url, device="cpu").trained.model
    assert [path.name for path in kept.glob(".fetching-*")] == [".fetching-running"]
    publish(PublishJob(run=str(depth_run), out=url, dtype="float16"), replace_there=True)
    found = Path(Predictor.from_pretrained(url, device="cpu").trained.home)
    assert load_file(found / "model.safetensors")["backbone.unet.conv_in.weight"].dtype == torch.float16


def test_a_folder_named_as_a_url_is_a_folder(depth_run: Path, tmp_path: Path) -> None:
    publish(PublishJob(run=str(depth_run), out=f"file://{tmp_path}/made"))
    assert (tmp_path / "made/vae/config.json").is_file()
    assert str(tmp_path) not in (tmp_path / "made" / CARD).read_text()


def test_what_was_replaced_comes_back_where_the_new_cannot_take_its_name(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = released(depth_run, tmp_path / "made")
    before = (out / DIGESTS).read_bytes()
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and (self / DIGESTS).read_bytes() != before:
            raise OSError("no such luck")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no such luck"):
        publish(PublishJob(run=str(depth_run), out=str(out), dtype="float16"), replace_there=True)
    assert (out / DIGESTS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


class StandIn:
    """What `HfApi` is asked for, with one repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commits, self.made = folder, [], []

    def create_repo(self, repo_id: str, **said: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.made.append((repo_id, said))

    def list_repo_files(self, repo_id: str, revision: str | None = None) -> list[str]:
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]

    def upload_folder(self, *, repo_id: str, folder_path: Path, delete_patterns: str | None, **said: Any) -> Any:
        if delete_patterns:
            shutil.rmtree(self.folder)
        shutil.copytree(folder_path, self.folder, dirs_exist_ok=True)
        self.commits.append(repo_id)
        return SimpleNamespace(commit_url="https://hub/commit/1")


def test_a_repository_of_the_hub_gets_one_commit_and_is_loaded_by_its_id(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in for the hub's API; no test reaches the hub itself."""
    stand_in = StandIn(tmp_path / "repository")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token=None: stand_in)
    monkeypatch.setattr(hub, "cached_snapshot", lambda name, revision: None)
    monkeypatch.setattr(hub, "fetch", lambda name, wanted, revision: stand_in.folder)
    trained = Predictor(str(depth_run), device="cpu")
    trained.push_to_hub("me/depth")
    assert stand_in.made == [("me/depth", {"repo_type": "model", "private": True, "exist_ok": True})]
    for name in ("me/depth", "hf://me/depth"):
        np.testing.assert_array_equal(predicted(Predictor.from_pretrained(name, device="cpu")), predicted(trained))
    with pytest.raises(ConfigError, match="it has files there already"):
        trained.push_to_hub("me/depth")
    trained.push_to_hub("me/depth", replace=True, dtype="float16")
    assert stand_in.commits == ["me/depth", "me/depth"]
    with pytest.raises(ConfigError, match="expected a repository of models on the hub"):
        trained.push_to_hub("depth")
    (stand_in.folder / "config.json").unlink()  # somebody's other files
    with pytest.raises(ConfigError, match=r"what it has there is no model \(.*which nothing replaces"):
        trained.push_to_hub("me/depth", replace=True)
    assert stand_in.commits == ["me/depth", "me/depth"]


def test_the_page_s_python_runs_as_it_is_shown(
    depth_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/models.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    published = released(depth_run, tmp_path / "published")
    monkeypatch.setattr(hub, "cached_snapshot", lambda name, revision: published)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/models.md", "exec"), {})
    assert load_file("models/half/model.safetensors")["backbone.unet.conv_in.weight"].dtype == torch.float16


def test_wrong_options_are_refused_by_their_names(depth_run: Path, tmp_path: Path) -> None:
    trained = Predictor(str(depth_run), device="cpu")
    with pytest.raises(ConfigError, match="dtype"):
        trained.save_pretrained(tmp_path / "made", dtype="half")
    with pytest.raises(ConfigError, match="unknown setting 'precision'"):
        trained.save_pretrained(tmp_path / "made", precision="half")
