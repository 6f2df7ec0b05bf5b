"""Plug-ins: a name is a module, options are bound strictly, and an outside plug-in needs no edit here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from diffusion_perception import plugins
from shards.errors import ConfigError


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_views.py").write_text("def build(size, kernel='a'):\n    return ('mine', size, kernel)\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "views.py").write_text("def build(size, kernel='a'):\n    return ('mine', size, kernel)\n")
    (tmp_path / "pkg" / "empty.py").write_text("")
    yield "pkg.views"
    for name in ("pkg", "pkg.views", "pkg.empty"):
        sys.modules.pop(name, None)


def test_a_short_name_is_a_module_of_the_kind() -> None:
    plan = plugins.build_plugin(plugins.VIEWS, {"name": "exact", "size": 64}, "views")
    assert plan.size_px == (64, 64)


def test_a_dotted_name_is_imported_as_it_is(outside: str) -> None:
    assert plugins.build_plugin(plugins.VIEWS, {"name": outside, "size": 3}, "views", kernel="b") == ("mine", 3, "b")


def test_an_unread_option_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'views.sizes'. Did you mean 'size'"):
        plugins.build_plugin(plugins.VIEWS, {"name": "exact", "sizes": 64}, "views")


def test_a_missing_option_is_named(outside: str) -> None:
    with pytest.raises(ConfigError, match="lacks: size"):
        plugins.build_plugin(plugins.VIEWS, {"name": outside}, "views")


def test_an_unknown_name_lists_the_modules_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no module pipeline.sources.refcoc with a build.* Did you mean 'refcoco'"):
        plugins.build_plugin(plugins.SOURCES, {"name": "refcoc"}, "source")
    with pytest.raises(ConfigError, match=r"no module no\.such\.thing"):
        plugins.build_plugin(plugins.SOURCES, {"name": "no.such.thing"}, "source")


def test_a_module_without_build_says_so(outside: str) -> None:
    with pytest.raises(ConfigError, match="no function build"):
        plugins.build_plugin(plugins.VIEWS, {"name": "pkg.empty"}, "views")


def test_a_spec_without_a_name_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'task' needs a 'name': one of .*refer"):
        plugins.build_plugin(plugins.TASKS, {}, "task")


def test_listing_plugins_skips_modules_that_are_not_plugins() -> None:
    assert "refcoco" in plugins.available(plugins.SOURCES)
    assert "refer_reader" not in plugins.available(plugins.SOURCES)
    assert plugins.available("vpd.heads") == [
        "depth_decoder",
        "fpn",
        "heat_maps",
        "label_latent",
        "prompt_depth",
        "refer_decoder",
        "upernet",
    ]


def test_views_that_no_encoder_is_shown_whole_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"setting 'views': its views are 99999 x 99999 pixels.*windows"):
        plugins.build_views({"name": "segmentation", "k": 1, "crop": 99999}, "views")
    assert plugins.build_views({"name": "segmentation", "k": 1, "crop": 4096}, "views").size_px == (4096, 4096)
