"""The recipe names everything that changes bytes and nothing that does not; settings refuse what cannot work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.building.recipe import BuildSettings
from pipeline.views import exact
from shards.contract.manifest import recipe_difference
from shards.errors import ConfigError
from tests.pipeline.toys import SETTINGS, Build, ToySource


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"records_per_shard": 5}, "records_per_shard"),
        ({"image_batch": 4}, "image_encoder.batch"),
        ({"text_batch": 4}, "text_encoder.batch"),
    ],
)
def test_settings_that_change_bytes_are_in_the_recipe(change: dict[str, Any], field: str) -> None:
    build = Build(Path("toys"))
    other = replace(build, settings=replace(SETTINGS, **change))
    (line,) = recipe_difference(other.recipe, build.recipe)
    assert line.startswith(f"{field}: ")


@pytest.mark.parametrize("change", [{"decode_threads": 7}, {"decode_ahead": 3}, {"max_rejects": 0.0}])
def test_settings_that_change_no_byte_are_not(change: dict[str, Any]) -> None:
    build = Build(Path("toys"))
    assert replace(build, settings=replace(SETTINGS, **change)).recipe == build.recipe


def test_source_views_and_text_mode_are_in_the_recipe() -> None:
    build = Build(Path("toys"))
    other = replace(build, source=ToySource(11), plan=exact.build((32, 64)), settings=replace(SETTINGS, text="tokens"))
    fields = {line.split(":")[0] for line in recipe_difference(other.recipe, build.recipe)}
    assert {"source.images", "views.size_px.1", "text", "fields.text.npy", "fields.latent.npy"} <= fields


def test_recipe_is_plain_json_without_paths() -> None:
    recipe = Build(Path("/somewhere/toys")).recipe
    assert json.loads(json.dumps(recipe)) == recipe
    assert "somewhere" not in json.dumps(recipe)


def test_a_set_without_text_has_no_text_fields() -> None:
    recipe = replace(Build(Path("toys")), text=None, source=ToySource(item_axis="view")).recipe
    assert recipe["text"] is None
    assert sorted(recipe["fields"]) == ["latent.npy", "meta.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_batch": 0}, "image_batch is 0"),
        ({"decode_threads": 1.5}, "decode_threads is 1.5"),
        ({"text": "both"}, "states, tokens"),
        ({"labels": "fast"}, "small, quick"),
        ({"max_rejects": 5}, "fraction from 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BuildSettings(**change)
