"""Curves as SVG inside a page."""

from __future__ import annotations

import builtins
from typing import Any
from xml.etree import ElementTree

import pytest

from diffusion_perception.figures import check_installed
from diffusion_perception.report.curves import drawn, thinned
from shards.errors import ConfigError


def test_long_curves_become_means_and_short_ones_stay() -> None:
    curve = tuple((step, float(step % 2)) for step in range(1, 1001))
    short = thinned(curve, 100)
    assert len(short) == 100
    assert short[0] == (10, 0.5)
    assert short[-1][0] == 1000
    assert thinned(curve, 1000) == curve
    assert thinned(curve[:7], 3) == ((3, pytest.approx(2 / 3)), (6, pytest.approx(1 / 3)), (7, 1.0))


def test_a_picture_is_svg_with_its_words_as_text_and_the_same_each_time() -> None:
    curves = {"first": ((1, 0.5), (2, 0.25)), "second": ((1, 1.0),), "nothing": ()}
    svg = drawn("val: rmse", curves, logarithmic=True)
    words = {node.text for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"val: rmse", "step", "first", "second"} <= words
    assert "nothing" not in words
    assert svg == drawn("val: rmse", curves, logarithmic=True)
    assert "http" not in svg.replace("http://www.w3.org/", "")


def test_a_runs_name_is_no_formula_and_logarithmic_numbers_are_text() -> None:
    curves = {r"a$\nonsense$": ((1, 0.002), (2, 300.0)), "lr $1 or $2_": ((1, 1.0),)}
    svg = drawn("loss", curves, logarithmic=True)
    words = {node.text for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {*curves, "1e\u221202", "100"} <= words
    assert "mathdefault" not in svg


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[report\]'"):
        check_installed()
