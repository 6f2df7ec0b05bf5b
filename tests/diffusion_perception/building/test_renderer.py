"""A render worker loads neither weights nor torch, and refuses to render for another set than its files make."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from diffusion_perception.building.assignment import Assignment
from diffusion_perception.building.builder import BuildJob, Resources, ShardBuilder
from diffusion_perception.building.renderer import ShardRenderer
from shards.errors import ConfigError, FingerprintMismatch

ROOT = Path(__file__).resolve().parents[3]
JOB = BuildJob(
    "many",
    {"name": "tests.jobs.many_pictures", "pictures": 30},
    ("train",),
    {"name": "exact", "size": 32},
    {"name": "tests.jobs.plain_encoder"},
)


def work(**changes: Any) -> Assignment:
    told = ShardBuilder(JOB).describe("train")
    return replace(Assignment("train", "/sets/many-train", cast(Any, None), told.recipe, told.environment), **changes)


def test_records_and_rejects_come_in_the_order_of_the_keys() -> None:
    keys = ["picture0023", "picture0022", "picture0000"]
    made = ShardRenderer(JOB).render(work(), keys)
    assert [one.outcome.key for one in made] == keys
    assert [type(one.outcome).__name__ for one in made] == ["RenderedExample", "Rejected", "RenderedExample"]


def test_other_files_views_or_libraries_are_refused() -> None:
    asked = work()
    other_files = {**asked.recipe, "source": {**asked.recipe["source"], "count": 31}}
    with pytest.raises(FingerprintMismatch, match=r"(?s)render worker on .*source.count: 30 here, 31 in what"):
        ShardRenderer(JOB).render(replace(asked, recipe=other_files), ["picture0000"])
    other_views = replace(JOB, views={"name": "exact", "size": 64})
    with pytest.raises(FingerprintMismatch, match=r"(?s)recipe.views.*resources.render_resources"):
        ShardRenderer(other_views).render(asked, ["picture0000"])
    other_libraries = {**asked.environment, "libraries": {"pillow": "1.0"}}
    with pytest.raises(FingerprintMismatch, match="pillow"):
        ShardRenderer(JOB).render(replace(asked, environment=other_libraries), ["picture0000"])
    allowed = replace(asked, environment=other_libraries, allow_changed=True)
    assert len(ShardRenderer(JOB).render(allowed, ["picture0000"])) == 1


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys\n"
        "from tests.diffusion_perception.building.test_renderer import JOB\n"
        "from diffusion_perception.building.renderer import ShardRenderer\n"
        "from pipeline.building.elsewhere import render_for_others\n"
        "from diffusion_perception import plugins\n"
        "source = plugins.build_plugin(plugins.SOURCES, JOB.source, 'source')\n"
        "plan = plugins.build_views(JOB.views, 'views')\n"
        "print(len(render_for_others(source, 'train', plan, 'small', ['picture0000'])), 'torch' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.split() == ["1", "False"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"render_workers": -1}, "render_workers is -1"),
        ({"render_resources": {"GPU": 1}}, "render_resources has GPU: 1"),
        ({"render_resources": {"decoding": 0}}, "render_resources has decoding: 0"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Resources(**given)
