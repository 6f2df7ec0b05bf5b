"""The plan is pure, names what is left to do, and its arithmetic agrees with the published sizes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.building.ledger import FinishedShard, Rejected, write_finished
from pipeline.building.plan import PlannedShard, estimate, plan_shards, remaining
from shards.contract.schema import Field
from shards.errors import ConfigError, SourceError
from tests.pipeline.toys import Build

LATENT = Field("latent", "npy", "float16", ("V", 4, 64, 64), "view")


def test_every_key_is_in_one_task_in_order() -> None:
    keys = [f"k{number}" for number in range(10)]
    planned = plan_shards(keys, 4, "toys-train")
    assert [shard.name for shard in planned] == ["toys-train-000000", "toys-train-000001", "toys-train-000002"]
    assert [shard.index for shard in planned] == [0, 1, 2]
    assert [key for shard in planned for key in shard.keys] == keys
    assert [len(shard.keys) for shard in planned] == [4, 4, 2]
    assert pickle.loads(pickle.dumps(planned)) == planned


def test_a_source_without_keys_or_with_a_key_twice_is_refused() -> None:
    with pytest.raises(SourceError, match="no keys"):
        plan_shards([], 4, "toys")
    with pytest.raises(SourceError, match="'b' comes twice"):
        plan_shards(["a", "b", "c", "b"], 4, "toys")


def test_remaining_names_shards_that_are_absent_changed_or_damaged(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    build.run()
    assert remaining(build.planned, build.folder) == []
    first, second, _ = build.planned
    (build.folder / f"{first.name}.tar").unlink()
    with (build.folder / f"{second.name}.idx").open("ab") as file:
        file.write(b"x")
    assert remaining(build.planned, build.folder) == [first, second]


def test_remaining_of_an_unfinished_build_compares_keys(tmp_path: Path) -> None:
    shard = PlannedShard("toys-000000", 0, ("a", "b"))
    assert remaining([shard], tmp_path) == [shard]
    rejects = (Rejected("a", "bad"), Rejected("b", "bad"))
    write_finished(tmp_path, FinishedShard(shard.name, shard.keys_sha256, None, rejects))
    assert remaining([shard], tmp_path) == []
    other = PlannedShard(shard.name, 0, ("a", "c"))
    assert remaining([other], tmp_path) == [other]


def test_estimate_of_refcoco_is_the_published_one() -> None:
    counts = {"images": 16_994, "refs": 42_404, "sentences": 120_624}
    size = estimate(
        counts, view_fields=(LATENT,), view_size_px=(512, 512), views_per_image=1, text_length=40, text_width=768
    )
    assert (size.records, size.items, size.views, size.shards) == (16_994, 42_404, 16_994, 34)
    assert size.latent_bytes == 16_994 * 32_768
    assert size.text_bytes == {"states": 120_624 * (61_440 + 160), "tokens": 120_624 * 160}
    assert size.total_bytes == size.latent_bytes + size.text_bytes["states"] + size.other_bytes
    assert size.other_bytes < 0.02 * size.total_bytes
    fast, slow = size.gpu_s["tf32"]
    assert (round(fast), round(slow)) == (85, 113)
    assert "estimated" in "\n".join(size.lines())
    assert "assumed" not in "\n".join(size.lines())


def test_an_estimate_says_what_it_assumed() -> None:
    size = estimate({"images": 1}, view_fields=(LATENT,), view_size_px=(8, 8), views_per_image=1, assumed=["a size"])
    assert size.lines()[-1] == "assumed: a size"


def test_estimate_is_close_to_what_a_build_writes(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    assert build.text is not None
    size = estimate(
        build.source.counts("train"),
        view_fields=build.vae.fields(build.plan.size_px),
        view_size_px=build.plan.size_px,
        views_per_image=build.plan.views_per_image,
        text_length=build.text.length,
        text_width=build.text.width,
        records_per_shard=build.settings.records_per_shard,
    )
    manifest = build.run()
    assert (size.records, size.items, size.views, size.sentences, size.shards) == (
        manifest.counts["records"],
        manifest.counts["items"],
        manifest.counts["view"],
        manifest.counts["sentence"],
        len(manifest.shards),
    )


def test_estimate_refuses_an_unknown_text_mode() -> None:
    with pytest.raises(ConfigError, match="states, tokens"):
        estimate({"images": 1}, view_fields=(), view_size_px=(8, 8), views_per_image=1, text="both")
