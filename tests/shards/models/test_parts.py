"""One rule and one message for every part of a model: folder, `~`, cache, hub, halves, `.bin`, missing, wrong class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from shards.errors import ConfigError
from shards.models.forms import FORMS
from shards.models.hub import is_hub_id
from shards.models.parts import ModelPart, find_config, find_part, part_at_hand

KINDS = tuple(FORMS)
WITH_WEIGHTS = tuple(kind for kind, form in FORMS.items() if form.stems)
HUB_MODEL, COMMIT = "somebody/some-model", "c" * 40
CLASS = {kind: FORMS[kind].classes[0] for kind in WITH_WEIGHTS}


def is_of_transformers(kind: str) -> bool:
    return kind == "vit" or kind.startswith("text_encoder")


def write_part(folder: Path, kind: str, suffix: str = "safetensors", variant: str = "") -> None:
    """Files of a part by name; nothing in them but what a finder reads."""
    folder.mkdir(parents=True)
    if kind.startswith("tokenizer"):
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
        (folder / "vocab.json").write_text("{}")
        (folder / "merges.txt").write_text("")
        return
    key = "model_type" if is_of_transformers(kind) else "_class_name"
    (folder / "config.json").write_text(json.dumps({key: CLASS[kind], "size": 3}))
    stem = dict(zip(("safetensors", "bin"), FORMS[kind].stems or (), strict=True))[suffix]
    (folder / ".".join(filter(None, (stem, variant, suffix)))).write_text("weights")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A diffusers folder with all parts."""
    for kind in KINDS:
        write_part(tmp_path / "sd" / kind, kind)
    return tmp_path / "sd"


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a snapshot of HUB_MODEL's main branch belongs in an otherwise empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--somebody--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots").mkdir()
    return repository / "snapshots" / COMMIT


def refusal(model: str, kind: str) -> str:
    with pytest.raises(ConfigError) as error:
        find_part("tester", model, kind)
    said = str(error.value)
    assert said.startswith(f"tester: no usable {kind} in {model!r}: ")
    assert f"Expected a diffusers folder or a hub id with {kind}/ inside ({FORMS[kind].needed})" in said
    assert "\n" not in said
    return said.removeprefix(f"tester: no usable {kind} in {model!r}: ").split(". Expected")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_found_in_a_folder_by_itself_under_home_and_in_the_cache(
    kind: str, model: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    shutil.copytree(model, hub_cache)
    for name in (str(model), str(model / kind), "~/sd", f"~/sd/{kind}", HUB_MODEL):
        part = find_part("tester", name, kind)
        home = hub_cache / kind if name == HUB_MODEL else model / kind
        assert part == ModelPart("tester", name, kind, home, part.weights)
        assert [file.parent for file in part.weights] == [home] * bool(FORMS[kind].stems)
    assert find_part("tester", HUB_MODEL, kind, COMMIT).folder == hub_cache / kind


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_used_has_one_message(kind: str, model: Path, hub_cache: Path) -> None:
    (model.parent / "file.safetensors").touch()
    (model.parent / "empty").mkdir()
    assert refusal(str(model.parent / "nowhere"), kind) == "nothing is there, and it is not a hub id (owner/name)"
    assert refusal("a b", kind) == "nothing is there, and it is not a hub id (owner/name)"
    assert refusal(str(model.parent / "file.safetensors"), kind) == "this is a file"
    assert f"no {kind}/, and the folder itself has no " in refusal(str(model.parent / "empty"), kind)
    assert refusal(HUB_MODEL, kind) == (
        "no folder of that name is here, the hub's local cache does not hold it, and the hub may not be asked "
        "(HF_HUB_OFFLINE is set)"
    )
    shutil.rmtree(model / kind)
    assert f"no {kind}/, and the folder itself has no " in refusal(str(model), kind)
    shutil.copytree(model, hub_cache)
    assert f"cache holds only a part of it (no {kind}/" in refusal(HUB_MODEL, kind)
    assert part_at_hand("tester", HUB_MODEL, kind) is None


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_part_is_refused_and_never_taken_for_one_that_is_not_cached(
    kind: str, model: Path, hub_cache: Path
) -> None:
    file = model / kind / FORMS[kind].says
    file.write_text(json.dumps({"_class_name": "AutoencoderTiny"}))
    shutil.copytree(model, hub_cache)
    for name in (str(model), HUB_MODEL):
        expected = f"{kind}/{file.name} says _class_name = 'AutoencoderTiny', expected {FORMS[kind].classes[0]}"
        assert refusal(name, kind) == expected
        with pytest.raises(ConfigError, match="AutoencoderTiny"):
            part_at_hand("tester", name, kind)
    file.write_text("{")
    assert f"{kind}/{file.name} is not readable JSON" in refusal(str(model), kind)


@pytest.mark.parametrize("kind", WITH_WEIGHTS)
@pytest.mark.parametrize(("variant", "suffix"), [("fp16", "safetensors"), ("bf16", "safetensors"), ("", "bin")])
def test_halves_and_bin_are_taken_where_there_is_nothing_better(
    kind: str, variant: str, suffix: str, tmp_path: Path
) -> None:
    write_part(tmp_path / kind, kind, suffix, variant)
    part = find_part("tester", str(tmp_path), kind)
    assert (part.variant, part.weights[0].suffix) == (variant, f".{suffix}")
    options = part.load(lambda folder, **options: options)
    assert options == {
        "local_files_only": True,
        "use_safetensors": suffix == "safetensors",
        "variant": variant or None,
    }
    better = "model" if is_of_transformers(kind) else "diffusion_pytorch_model"
    (tmp_path / kind / f"{better}.safetensors").touch()
    assert find_part("tester", str(tmp_path), kind).weights == (tmp_path / kind / f"{better}.safetensors",)


@pytest.mark.parametrize("kind", WITH_WEIGHTS)
def test_weights_in_several_files_are_all_there_or_the_missing_one_is_named(kind: str, tmp_path: Path) -> None:
    write_part(tmp_path / kind, kind)
    (whole,) = find_part("tester", str(tmp_path), kind).weights
    halves = [whole.with_name(f"{whole.stem}.fp16-0000{n}-of-00002.safetensors") for n in (1, 2)]
    whole.rename(halves[0])
    table = {"weight_map": {"a": halves[0].name, "b": halves[1].name}}
    (tmp_path / kind / f"{whole.name}.index.fp16.json").write_text(json.dumps(table))
    assert f"names 2 files, of which 1 are missing, such as {kind}/{halves[1].name}" in refusal(str(tmp_path), kind)
    halves[1].touch()
    part = find_part("tester", str(tmp_path), kind)
    assert (part.weights, part.variant) == (tuple(halves), "fp16")


@pytest.mark.parametrize("kind", WITH_WEIGHTS)
def test_a_part_without_weights_says_what_is_there_instead(kind: str, model: Path) -> None:
    (file,) = find_part("tester", str(model), kind).weights
    file.rename(file.with_name("flax_model.msgpack"))
    assert refusal(str(model), kind).endswith("fp16 or bf16 of it; found config.json, flax_model.msgpack")
    assert find_part("tester", str(model), kind, weights=False).config()["size"] == 3
    assert (find_config("tester", str(model), kind) or {})["size"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_files_of_the_part_are_fetched_from_the_hub(
    kind: str, model: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [file.relative_to(model).as_posix() for file in sorted(model.rglob("*")) if file.is_file()]

    def download(repository: str, name: str, revision: str | None) -> str:
        (hub_cache / name).parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(model / name, hub_cache / name))

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *args, **options: [*every, "README.md"])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    part = find_part("tester", HUB_MODEL, kind)
    assert part.folder == hub_cache / kind
    fetched = {file.relative_to(hub_cache).as_posix() for file in hub_cache.rglob("*") if file.is_file()}
    assert fetched == {name for name in every if name.startswith(f"{kind}/")}


def test_a_tokenizer_lies_beside_its_text_encoder_or_in_it(model: Path) -> None:
    assert find_part("tester", str(model / "text_encoder"), "tokenizer").folder == model / "tokenizer"
    shutil.move(model / "tokenizer" / "vocab.json", model / "text_encoder")
    shutil.move(model / "tokenizer" / "merges.txt", model / "text_encoder")
    assert find_part("tester", str(model / "text_encoder"), "tokenizer").folder == model / "text_encoder"


def test_a_link_of_the_cache_to_nothing_is_no_file(hub_cache: Path, model: Path) -> None:
    shutil.copytree(model, hub_cache)
    file = hub_cache / "vae" / "diffusion_pytorch_model.safetensors"
    file.unlink()
    file.symlink_to("../../../blobs/gone")
    assert "cache holds only a part of it" in refusal(HUB_MODEL, "vae")


@pytest.mark.parametrize("name", ["~nobody-of-that-name/sd", "a\0b", "x" * 5000])
def test_a_name_that_no_file_system_takes_is_refused_the_same_way(name: str) -> None:
    refusal(name, "vae")
    with pytest.raises(ConfigError, match="no usable vae"):
        part_at_hand("tester", name, "vae")


@pytest.mark.parametrize(
    ("name", "can_be"),
    [("owner/name", True), ("name", True), ("./name", False), ("a/b/c", False), ("~/sd", False), ("/sd", False)],
)
def test_what_can_be_a_hub_id(name: str, can_be: bool) -> None:
    assert is_hub_id(name) is can_be
