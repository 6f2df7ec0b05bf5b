"""Pushed and pulled sets: equal bytes, a card and Croissant that say what is there, and places of several sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from shards.contract.manifest import Manifest
from shards.errors import ConfigError, ContractError, CorruptShard, IncompleteSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.publication import published, pull_sets, push_sets
from shards.verify import find_faults
from tests.shards.toy_set import write_toy_set
from tests.shards.upkeep.test_copying import files_of

Somewhere = Callable[[str], Folder]


@pytest.fixture(scope="module")
def val_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "toy-val"
    write_toy_set(root, (2, 2))
    return root


def test_what_was_pushed_is_pulled_set_by_set_or_all_together(
    toy_root: Path, val_root: Path, somewhere: Somewhere, tmp_path: Path
) -> None:
    place = str(somewhere("pub"))
    said: list[str] = []
    moved = push_sets([toy_root], place, say=said.append)
    assert moved[0].place == f"{place}/toy"
    assert said[-1].startswith("toy: 3 shards (")
    push_sets([val_root], place)
    assert list(published(somewhere("pub"))) == ["toy", "toy-val"]
    pull_sets([place], tmp_path / "all")
    pull_sets([f"{place}/toy-val"], tmp_path / "one")
    for root, pulled in ((toy_root, "all/toy"), (val_root, "all/toy-val"), (val_root, "one/toy-val")):
        assert files_of(open_folder(tmp_path / pulled)) == files_of(open_folder(root))
    assert list(find_faults(tmp_path / "all" / "toy")) == []


def test_pushed_again_nothing_is_copied_and_nothing_changes(toy_root: Path, somewhere: Somewhere) -> None:
    push_sets([toy_root], str(somewhere("pub")))
    before = files_of(somewhere("pub"))
    assert push_sets([toy_root], str(somewhere("pub")))[0].copied.shards == 0
    assert files_of(somewhere("pub")) == before


def test_the_card_has_a_header_of_the_hub_and_the_terms(toy_root: Path, val_root: Path, tmp_path: Path) -> None:
    push_sets([toy_root, val_root], tmp_path / "pub", note="They may.")
    _, header, body = (tmp_path / "pub" / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(header)
    assert said["license"] == "cc0-1.0"
    assert said["task_categories"] == ["depth-estimation", "image-segmentation"]
    assert said["size_categories"] == ["n<1K"]
    assert said["configs"] == [
        {"config_name": name, "data_files": [{"split": "train", "path": f"{name}/*.tar"}]}
        for name in ("toy", "toy-val")
    ]
    for text in ("- **licence**: CC0", "| toy | train | 12 | 24 | 0.1 |", "They may.", "near copy of its picture"):
        assert text in body


def test_croissant_names_every_tar_with_its_hash_and_every_member(toy_root: Path, tmp_path: Path) -> None:
    push_sets([toy_root], tmp_path / "pub")
    said = json.loads((tmp_path / "pub" / "croissant.json").read_text())
    manifest = Manifest.load(toy_root)
    files = {part["contentUrl"]: part for part in said["distribution"] if part["@type"] == "cr:FileObject"}
    assert {name: part["sha256"] for name, part in files.items()} == {
        f"toy/{shard.name}.tar": shard.tar_sha256 for shard in manifest.shards
    }
    assert all((tmp_path / "pub" / name).stat().st_size == int(files[name]["contentSize"].split()[0]) for name in files)
    assert [part["@id"] for part in said["recordSet"]] == [f"toy/{field.name}" for field in manifest.schema.fields]
    assert said["license"] == "CC0"


def test_a_manifest_that_is_not_the_published_one_is_found(toy_root: Path, val_root: Path, tmp_path: Path) -> None:
    push_sets([toy_root], tmp_path / "pub")
    (tmp_path / "pub" / "toy" / "manifest.json").write_bytes((val_root / "manifest.json").read_bytes())
    with pytest.raises(CorruptShard, match=r"manifest.json: sha256 is .*, recorded"):
        pull_sets([tmp_path / "pub"], tmp_path / "here")


def test_names_never_lead_out_of_the_folder(toy_root: Path, tmp_path: Path) -> None:
    push_sets([toy_root], tmp_path / "pub")
    path = tmp_path / "pub" / "sets.json"
    path.write_text(path.read_text().replace('"toy"', '"../toy"'))
    with pytest.raises(CorruptShard, match="names no sets"):
        pull_sets([tmp_path / "pub"], tmp_path / "here" / "below")
    evil = tmp_path / "evil" / "toy"
    copy_set(open_folder(toy_root), open_folder(evil))
    manifest = Manifest.load(evil)
    shards = tuple(replace(one, name="../x") if one.name == "toy-000001" else one for one in manifest.shards)
    replace(manifest, shards=shards).write(evil)
    with pytest.raises(ContractError, match=r"manifest|key"):
        pull_sets([evil], tmp_path / "here" / "below")
    assert not list((tmp_path / "here").rglob("*.tar"))


def test_places_and_names_that_cannot_be_are_refused(toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompleteSet, match=r"manifest.json not found"):
        pull_sets([tmp_path], tmp_path / "here")
    with pytest.raises(ConfigError, match="two sets are called toy"):
        push_sets([toy_root, toy_root], tmp_path / "pub")
    copy_set(open_folder(toy_root), open_folder(tmp_path / "v1.0"))
    with pytest.raises(ConfigError, match=r"a set's folder is called 'v1.0'"):
        push_sets([tmp_path / "v1.0"], tmp_path / "pub")
    assert not (tmp_path / "pub").exists()
