"""What a set says its records were made from has a hash in the manifest: damage is found, and never believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.errors import CorruptShard
from shards.reading.reader import ShardSet
from shards.storage.storage import open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.mending import repair_set
from shards.verify import find_faults
from tests.pipeline.building.test_incremental import World


@pytest.mark.parametrize("damage", ["another hash", "cut", "gone"])
def test_damaged_origins_are_found_and_mended_and_no_build_takes_them_for_true(tmp_path: Path, damage: str) -> None:
    world = World(tmp_path / "data", tmp_path / "out")
    for number in range(6):
        world.add(number)
    build = world.build()
    build.run()
    copy_set(open_folder(build.folder), open_folder(tmp_path / "copy" / "toys"))
    path = build.folder / "origins.jsonl"
    lines = path.read_bytes()
    ((_, _, hash_then), *_) = json.loads(lines.splitlines()[0])["records"][0]["files"]
    path.unlink()
    if damage != "gone":
        path.write_bytes(lines.replace(hash_then.encode(), b"0" * 32) if damage == "another hash" else lines[:-2])
    (fault,) = find_faults(build.folder)
    assert "origins.jsonl" in fault
    assert ShardSet.open(str(build.folder)).n_records == 6  # readers need none of it
    world.label("p0003", 1)
    if damage != "gone":
        with pytest.raises(CorruptShard, match=r"origins\.jsonl"):
            world.build().run()
    repair = repair_set(build.folder, tmp_path / "copy" / "toys")
    assert (repair.mended, repair.left) == (("origins.jsonl",), ())
    assert path.read_bytes() == lines
    world.build().run()
    assert list(find_faults(build.folder)) == []
