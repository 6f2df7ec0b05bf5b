"""Every block of docs/reading_sets.md runs as it is shown, on a set of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toy_runs import write_set

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = next(DOCS.glob("reading_sets.*"))
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the set that the page names."""
    folder = tmp_path_factory.mktemp("reader")
    write_set(folder / "sets" / "scenes", "seg")
    write_set(folder / "sets" / "rooms", "seg")
    write_set(folder / "sets" / "persons", "refer")
    return folder


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[title], f"{PAGE.name}, {title}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_the_page_has_examples_of_about_ten_lines() -> None:
    here = ["A plain loop", "Stop and go on", "Some of a set, several sets", "Without captions", "By number"]
    assert list(BLOCKS) == [*here, "In Lightning", "In Ray Train", "In the Trainer of transformers"]
    assert PAGE.read_text().count("```python") == len(BLOCKS)
    assert all(sum(bool(line) for line in block.splitlines()) < 20 for block in BLOCKS.values())


def test_the_plain_loop_learns_from_two_epochs() -> None:
    names = run("A plain loop")
    assert names["stream"].state_dict()["position"] == 12
    assert names["net"].weight.grad.any()


def test_a_stopped_loop_goes_on_with_its_third_batch(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Stop and go on")
    (line,) = capsys.readouterr().out.splitlines()
    seen = [key for batch in names["SetStream"]("sets/scenes", 2, seed=1) for key in batch["key"]]
    assert line == f"3 {seen[4:]}"


def test_a_mixture_has_three_of_one_set_to_one_of_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Some of a set, several sets")
    *batches, last = capsys.readouterr().out.splitlines()
    assert batches
    assert all(sorted(json.loads(line[: line.index("]") + 1])) == [0, 0, 0, 1] for line in batches)
    assert len(names["SetStream"]("sets/scenes", 1, subset=names["train"])) + int(last.split()[0]) == 6


def test_dropped_captions_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Without captions")
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all("True" in line or "False" in line for line in lines)
    assert names["batch"]["text"].shape[1:] == names["shape"]


def test_samples_are_read_by_number(capsys: pytest.CaptureFixture[str]) -> None:
    run("By number")
    first, *batches = capsys.readouterr().out.splitlines()
    assert first == "6 image0 torch.float16 [0, 0, 0]"
    assert len(batches) == 3


def test_two_ranks_of_ray_train_share_every_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of a worker, run for each rank as Ray Train tells it; `test_trainers` starts Ray."""
    names, shown = run("In Ray Train"), []

    def remembered(net: torch.nn.Module) -> torch.nn.Module:
        net.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].clone()))
        return net

    names["prepare_model"] = remembered
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        names["train"]({"set": str(folder / "sets" / "scenes")})
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    stream = names["SetStream"](folder / "sets" / "scenes", 4, seed=1)
    expected = [batch["latent"].float() for _ in range(2) for batch in stream]
    assert len(shown) == 2 * len(expected) == 6
    for batch, share, other in zip(expected, shown[:3], shown[3:], strict=True):
        assert torch.equal(torch.cat([share, other]), batch)


def test_a_trainer_gets_two_loaders() -> None:
    module = run("In Lightning")["Scenes"]()
    assert sorted(key for batch in module.train_dataloader() for key in batch["key"]) == [
        key for batch in module.val_dataloader() for key in batch["key"]
    ]
