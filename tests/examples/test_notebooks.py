"""The notebooks run from the first cell to the last in one process, and are kept without what they printed."""

from __future__ import annotations

import ast
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path, kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The names that a notebook ends with, and what each cell shows: the value of its last line."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, source in enumerate(cells(path)):
        tree = ast.parse(source, f"{path.name}, cell {number}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}, cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
    return names, [one for one in shown if one is not None]


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks work in a temporary folder of their own, and leave this process where it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["own_set", "predict_and_features", "read_shards"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_without_outputs_and_lead_somewhere(path: Path) -> None:
    book = json.loads(path.read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert book["cells"][0]["cell_type"] == "markdown", "a title"
    links = re.findall(r"\]\(([^)#]+)\)", "\n".join(cells(path, "markdown")))
    assert links
    assert all((path.parent / link).is_file() for link in links)


def test_predictions_and_features(capsys: pytest.CaptureFixture[str]) -> None:
    names, shown = run(FOLDER / "predict_and_features.ipynb")
    assert [picture.size for picture in shown] == [(256, 192)] * 4
    said = capsys.readouterr().out
    assert "(192, 256)" in said
    assert names["mask"].dtype == bool
    assert tuple(names["logits"].shape) == (2, 2, 192, 256)
    assert tuple(names["heat"].shape) == (192, 256)


def test_reading_shards(capsys: pytest.CaptureFixture[str]) -> None:
    names, _ = run(FOLDER / "read_shards.ipynb")
    assert names["losses"][-1] < 0.5 * names["losses"][0]
    assert len(names["losses"]) == 20 * 3
    assert len(names["found"]) == 12
    first, then = re.findall(r"\[[^]]*\]", capsys.readouterr().out.split(" then ")[0].splitlines()[-1] + "[then]")
    assert first != then


def test_a_set_of_one_s_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its build, which would start a cluster, is done in this process."""
    sys.path.insert(0, str(ROOT / "tests" / "jobs"))
    try:
        import build_without_ray
    finally:
        sys.path.pop(0)
    from jobs import build_shards

    monkeypatch.setattr(build_shards, "run", build_without_ray.run)
    names, shown = run(FOLDER / "own_set.ipynb")
    said = capsys.readouterr().out
    assert "mine.build.yaml" in said
    assert names["shards"].n_records == 7
    assert Path("check.html").is_file()
    assert "[val] step 2/2" in said
    assert [picture.width >= 120 for picture in shown] == [True, True]
