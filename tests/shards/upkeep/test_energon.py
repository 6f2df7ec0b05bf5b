"""What is written for Megatron Energon says where records lie in tars, and is neither a fault of a set nor a stray."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shards.upkeep.energon import describe_for_energon
from shards.verify import find_faults, find_strays
from tests.shards.toy_set import write_toy_set

pytestmark = pytest.mark.usefixtures("in_either_form")


def test_every_record_is_found_where_its_index_says(tmp_path: Path) -> None:
    place = tmp_path / "toy"
    write_toy_set(place, (3, 2))
    describe_for_energon(place)
    counts = json.loads((place / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    assert list(counts.values()) == [3, 2]
    for name in counts:
        with tarfile.open(place / name) as tar:
            members = tar.getmembers()
        begins = {member.name.split(".")[0]: member.offset for member in reversed(members)}
        end = members[-1].offset_data + -(-members[-1].size // 512) * 512
        assert np.fromfile(place / f"{name}.idx", "<u8").tolist() == [*sorted(begins.values()), end]


def test_the_set_is_as_sound_as_before(tmp_path: Path) -> None:
    place = tmp_path / "toy"
    write_toy_set(place, (3, 2))
    describe_for_energon(place)
    assert [*find_faults(place), *find_strays(place)] == []
    (place / "toy-000009.tar.idx").touch()
    assert find_strays(place) == ["toy-000009.tar.idx"]
