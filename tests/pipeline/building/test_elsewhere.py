"""Records that others render make the same set, and nothing but the record that was asked for is taken."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from pipeline.building.elsewhere import Rendered, render_for_others
from pipeline.building.ledger import open_build
from pipeline.building.recipe import schema_of
from pipeline.building.shard import build_shard, finish_set
from shards.errors import ContractError
from tests.pipeline.toys import SETTINGS, Build, ToySource, digests


class Others:
    """Render in the same process, and hand over what a cluster would carry."""

    def __init__(self, build: Build) -> None:
        self._build, self.asked = build, list[tuple[list[str], int]]()
        self.ended = 0

    def __call__(self, keys: Sequence[str], ahead: int) -> Generator[Rendered, None, None]:
        self.asked.append((list(keys), ahead))
        try:
            for one in self.made(keys):
                yield pickle.loads(pickle.dumps(one, protocol=5))
        finally:
            self.ended += 1

    def made(self, keys: Sequence[str]) -> list[Rendered]:
        build = self._build
        return render_for_others(build.source, "train", build.plan, build.settings.labels, keys)


def of(folder: Path) -> Build:
    return Build(folder, ToySource(broken={"image002": "torn"}))


def test_the_set_is_that_of_a_build_that_renders_itself(tmp_path: Path) -> None:
    alone, build = of(tmp_path / "alone" / "toys"), of(tmp_path / "others" / "toys")
    alone.run()
    others = Others(build)
    open_build(build.folder, build.recipe, build.environment)
    for shard in build.planned:
        build_shard(
            shard, build.source, "train", build.plan, build.vae, build.text, build.folder, SETTINGS, elsewhere=others
        )
    schema = schema_of(build.source, build.plan, build.vae, build.text, SETTINGS)
    finish_set(build.planned, build.source, "train", schema, build.recipe, build.folder, SETTINGS)
    assert digests(tmp_path / "others") == digests(tmp_path / "alone")
    assert others.asked == [(list(shard.keys), SETTINGS.decode_ahead) for shard in build.planned]
    assert others.ended == len(build.planned)


@pytest.mark.parametrize("fault", ["swapped", "short"])
def test_another_record_than_the_next_one_ends_the_shard_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    build = of(tmp_path / "toys")

    class Wrong(Others):
        def made(self, keys: Sequence[str]) -> list[Rendered]:
            made = super().made(keys)
            return [made[1], made[0], *made[2:]] if fault == "swapped" else made[:-1]

    others, (shard, *_) = Wrong(build), build.planned
    open_build(build.folder, build.recipe, build.environment)
    came = f"'{shard.keys[1]}'" if fault == "swapped" else "nothing"
    with pytest.raises(ContractError, match=f"was to come from a render worker, and {came} came"):
        build_shard(
            shard, build.source, "train", build.plan, build.vae, build.text, build.folder, SETTINGS, elsewhere=others
        )
    assert others.ended == 1
    assert list(Path(str(build.folder)).glob("*.tar")) == []
