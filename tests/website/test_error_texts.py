"""docs/troubleshooting.md: every text of an error is read off the source, and those quoted by hand are among them."""

from __future__ import annotations

import ast
import re

import pytest

from website.error_texts import error_classes, raised, texts_of
from website.rendering import ROOT

BY_HAND, _, LIST = (ROOT / "docs/troubleshooting.md").read_text("utf-8").partition("## Every text")
OTHERS = ("Error: No such option: --task", "torch.OutOfMemoryError")  # of Ray and PyTorch, which the page says
SPOKEN_ELSEWHERE = ("The newest checkpoint is sound",)  # put together by a function: vpd/training/step/finite.py


def texts(source: str, **words: dict[str, str]) -> list[str]:
    return [text for _, text in raised(ast.parse(source), {"ConfigError"}, words)]


def test_the_classes_are_those_of_the_tree() -> None:
    kinds = error_classes("class ContractError(Exception): ...\nclass A(ContractError): ...\nclass B(ValueError): ...")
    assert kinds == {"ContractError", "A"}
    assert error_classes((ROOT / "shards" / "errors.py").read_text()) >= {"SourceError", "Reject", "Interrupted"}


def test_holes_are_named_after_what_stands_in_them() -> None:
    source = "raise ConfigError(f'{self.path}: {len(names)} of {rows[0]} in {SEP.join(kinds)}; ' + 'give more than 1')"
    assert texts(source) == ["<path>: <names> of <rows> in <kinds>; give more than 1"]


def test_constants_are_filled_in_imported_ones_too() -> None:
    source = 'from a.b import ADVICE as A\nWHO = "source x"\nraise ConfigError(f"{WHO}: no such file. {A}")'
    assert texts(source, **{"a.b": {"ADVICE": "Name another."}}) == ["source x: no such file. Name another."]


def test_a_text_that_depends_on_a_condition_is_several() -> None:
    assert texts('raise ConfigError("it is too long here" if x else "it is too short here")') == [
        "it is too long here",
        "it is too short here",
    ]


def test_what_says_nothing_of_its_own_is_left_out() -> None:
    nothing = ("raise ConfigError(text)", 'raise ConfigError(f"{a}: {b}")', 'raise ValueError("of no class of ours")')
    assert texts("\n".join(nothing)) == []


def test_the_project_s_texts_are_found() -> None:
    found = texts_of(ROOT)
    assert len(found) > 900
    assert len({one.room for one in found}) > 30
    spoken = {one.kind for one in found}
    assert spoken >= {"ConfigError", "SourceError", "Reject", "CorruptShard", "FingerprintMismatch", "StoreFailed"}
    some = "manifest.json not found in <folder>: it is written last"
    assert any(one.text.startswith(some) and one.place == "shards/storage/faults.py" for one in found)


def quoted() -> list[str]:
    """What the first section quotes, in bold code."""
    return re.findall(r"\*\*`([^`]+)`\*\*", BY_HAND)


@pytest.mark.parametrize("fragment", quoted())
def test_what_the_page_quotes_is_said(fragment: str) -> None:
    if fragment in SPOKEN_ELSEWHERE:
        assert fragment in (ROOT / "vpd/training/step/finite.py").read_text("utf-8")
    elif fragment not in OTHERS:
        assert fragment in LIST


def test_the_page_begins_with_the_ten_likeliest() -> None:
    assert re.findall(r"^(\d+)\. \*\*", BY_HAND, re.MULTILINE) == [str(number) for number in range(1, 11)]
    assert len(quoted()) >= 10
