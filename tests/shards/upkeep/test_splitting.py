"""Several sets of one: the draw, every byte of the records, and parts that are sets of their own."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shards.contract.manifest import Manifest
from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.merging import merge_sets
from shards.upkeep.splitting import choose, split_set
from shards.verify import find_faults
from tests.shards.toy_set import toy_record
from tests.shards.upkeep.test_difference import set_of

pytestmark = pytest.mark.usefixtures("in_either_form")

KEYS = [f"image{number:04d}" for number in range(20)]


def members(*tars: Path) -> dict[str, bytes]:
    """Every member of some tars, whole: npy headers, too."""
    found = {}
    for path in tars:
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


@settings(max_examples=60)
@given(st.integers(1, 60), st.lists(st.floats(0.05, 1), min_size=1, max_size=4), st.integers(0, 3))
def test_shares_that_sum_to_one_take_every_record_once(total: int, weights: list[float], seed: int) -> None:
    keys = [f"k{number}" for number in range(total)]
    shares = {str(number): weight / sum(weights) for number, weight in enumerate(weights)}
    assume(min(shares.values()) * total > 1)  # else a part may be empty, which is refused
    chosen = choose(keys, shares, seed)
    assert sorted(key for part in chosen.values() for key in part) == sorted(keys)
    for name, share in shares.items():
        assert abs(len(chosen[name]) - share * total) <= 1


def test_the_draw_depends_on_the_seed_and_keeps_the_order() -> None:
    one = choose(KEYS, {"train": 0.8, "val": 0.2}, seed=0)
    assert one == choose(KEYS, {"train": 0.8, "val": 0.2}, seed=0)
    assert one != choose(KEYS, {"train": 0.8, "val": 0.2}, seed=1)
    assert one["train"] == sorted(one["train"])
    assert (len(one["train"]), len(one["val"])) == (16, 4)


def test_a_record_more_moves_few_others() -> None:
    before = set(choose(KEYS, {"val": 0.2}, seed=0)["val"])
    after = set(choose([*KEYS, "new"], {"val": 0.2}, seed=0)["val"])
    assert len(before - after) <= 1


def test_keys_numbers_shares_and_the_rest_together() -> None:
    chosen = choose(KEYS, {"fixed": KEYS[3:5], "some": 4, "half": 0.5, "rest": None})
    assert chosen["fixed"] == KEYS[3:5]
    assert [len(chosen[name]) for name in ("some", "half", "rest")] == [4, 10, 4]
    assert sorted(key for part in chosen.values() for key in part) == KEYS


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"a": 0.7, "b": 0.7}, "parts ask for 35 records; 20 of 20 are left"),
        ({"a": 15, "b": 6}, "parts ask for 21 records"),
        ({"a": 0}, "part a is 0; expected a share up to 1.0"),
        ({"a": -0.1}, "part a is -0.1"),
        ({"a": 1.5}, "part a is 1.5"),
        ({"a": True}, "part a is True"),
        ({"a": "half"}, "part a is 'half'"),
        ({"a": ["x"]}, "part a names 1 keys that the set lacks, such as 'x'"),
        ({"a": KEYS[:2], "b": KEYS[1:3]}, "part b names 'image0001', which is named already"),
        ({"a": [KEYS[0], KEYS[0]]}, "part a names 'image0000', which is named already"),
        ({"a": None, "b": None}, "parts a, b are each the rest"),
        ({"a": 1.0, "b": None}, "part b would be empty"),
        ({"a": 0.001}, "part a would be empty"),
    ],
)
def test_parts_that_cannot_be_are_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        choose(KEYS, parts)
    assert said in str(error.value)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return set_of(tmp_path / "ten", [toy_record(number) for number in range(10)])


def test_every_byte_of_the_records_is_kept(ten: Path, tmp_path: Path, somewhere: Callable[[str], Folder]) -> None:
    copy_set(open_folder(ten), somewhere("ten"))
    said: list[tuple[int, int]] = []
    made = split_set(
        str(somewhere("ten")),
        tmp_path / "parts",
        {"train": 0.7, "val": 0.3},
        records_per_shard=3,
        report=lambda *counts: said.append(counts),
    )
    assert [manifest.counts["records"] for manifest in made.values()] == [7, 3]
    assert said[-1] == (10, 10)
    for name in made:
        assert list(find_faults(tmp_path / "parts" / name)) == []
    assert members(*(tmp_path / "parts").rglob("*.tar")) == members(*ten.glob("*.tar"))
    assert [shard.name for shard in made["train"].shards] == ["train-000000", "train-000001", "train-000002"]
    card = (tmp_path / "parts" / "val" / "README.md").read_text()
    assert "- **part of**: ten" in card
    shards = ShardSet.open(tmp_path / "parts" / "val")
    assert shards.table("classes")[0]["text"].shape == (3, 2)


def test_parts_are_other_sets_and_merge_again(ten: Path, tmp_path: Path) -> None:
    made = split_set(ten, tmp_path, {"a": 0.5, "b": 0.5})
    fingerprints = {made["a"].fingerprint, made["b"].fingerprint, Manifest.load(ten).fingerprint}
    assert len(fingerprints) == 3
    merged = merge_sets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert merged.counts == Manifest.load(ten).counts
    assert members(*(tmp_path / "both").glob("*.tar")) == members(*ten.glob("*.tar"))


def test_what_was_left_out_of_a_record_stays_with_it(tmp_path: Path) -> None:
    folder = set_of(tmp_path / "ten", [toy_record(number) for number in range(10)], rejects=("image0001", "gone"))
    lines = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    lines[0]["whole"] = False  # an entry of a picture that is in the set
    (folder / "rejects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = split_set(folder, tmp_path, {"one": ["image0001"], "rest": None})
    assert made["one"].counts["rejects"] == 1
    assert json.loads((tmp_path / "one" / "rejects.jsonl").read_text()) == {**lines[0], "shard": "one-000000"}
    assert made["rest"].counts["rejects"] == 0  # "gone" is in no part


def test_places_that_are_taken_and_names_that_cannot_be(ten: Path, tmp_path: Path) -> None:
    split_set(ten, tmp_path / "parts", {"a": 2})
    with pytest.raises(ConfigError, match="holds a set; give another place"):
        split_set(ten, tmp_path / "parts", {"a": 3})
    with pytest.raises(ConfigError, match="it becomes the name of a folder"):
        split_set(ten, tmp_path / "parts", {"../a": 3})


def test_an_interrupted_split_is_begun_again_in_its_place(
    ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shards.upkeep import splitting

    def broken(*given: object, **said: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(splitting, "seal_set", broken)
        with pytest.raises(OSError):
            split_set(ten, tmp_path / "parts", {"a": 0.5, "b": 0.5})
    split_set(ten, tmp_path / "parts", {"a": 0.5, "b": 0.5})
    assert members(*(tmp_path / "parts").rglob("*.tar")) == members(*ten.glob("*.tar"))
