"""What ships for a GPU of a given memory fits it, as counted, and leaves the batch as it was."""

from __future__ import annotations

import json

import pytest

from benchmarks.cards import CARDS_GB, FREE, RESULTS, TASKS, peak_gb, settings_of
from jobs.command_line import CommandLine
from jobs.train import read
from shards.errors import ConfigError

COUNTED = {(row["task"], row["card"]): row for row in json.loads(RESULTS.read_text())}
PLACES = [(task, card) for task in TASKS for card in CARDS_GB]


def test_there_is_a_card_of_each_usual_size() -> None:
    assert sorted(CARDS_GB.values()) == [12, 24, 40, 80]


@pytest.mark.parametrize(("task", "card"), PLACES)
def test_the_peak_leaves_a_tenth_of_the_card_free(task: str, card: str) -> None:
    """As counted by `python -m benchmarks.cards`, which a change of these settings asks for again."""
    row = COUNTED[task, card]
    assert row["peak_gb"] <= (1 - FREE) * CARDS_GB[card]
    assert {key: row[key] for key in settings_of(task, card)} == settings_of(task, card)


def test_what_was_counted_is_what_is_counted() -> None:
    assert peak_gb("refer", "12gb") == pytest.approx(COUNTED["refer", "12gb"]["peak_gb"], rel=0.02)


@pytest.mark.parametrize(("task", "card"), PLACES)
def test_a_card_leaves_batch_and_learning_as_they_are(task: str, card: str) -> None:
    plain, fitted = (read(CommandLine.parse(["--task", task, *words])) for words in ([], ["card=" + card]))
    assert fitted.data.batch_size == plain.data.batch_size
    assert fitted.optim == plain.optim
    assert fitted.loop.total_steps(1000, 8) == plain.loop.total_steps(1000, 8)
    assert fitted.model.latent_scale == plain.model.latent_scale


def test_a_word_on_the_command_line_lies_over_the_card() -> None:
    job = read(CommandLine.parse(["--task", "refer", "--card", "24gb", "data.micro_batch_size=2"]))
    assert job.data.micro_batch_size == 2
    assert job.model.train == "full"


def test_a_card_that_does_not_ship_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"no configuration file configs/card/16gb\.yaml.*12gb, 24gb, 40gb, 80gb"):
        read(CommandLine.parse(["--task", "refer", "--card", "16gb"]))
