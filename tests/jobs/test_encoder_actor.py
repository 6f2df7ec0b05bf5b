"""An actor loads its encoders ahead of the first question, once, and says what is wrong with them when it is asked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffusion_perception.building.builder import BuildJob, ShardBuilder
from jobs.encoder_actor import EncoderActor
from shards.errors import ConfigError
from tests.jobs import plain_encoder

JOB = BuildJob(
    "many",
    {"name": "tests.jobs.many_pictures"},
    ("train",),
    {"name": "exact", "size": 32},
    {"name": "tests.jobs.plain_encoder"},
)


def test_encoders_are_loaded_once_whoever_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def slow(device: str = "cpu") -> plain_encoder.PlainEncoder:
        loaded.append(device)
        time.sleep(0.2)
        return plain_encoder.PlainEncoder()

    monkeypatch.setattr(plain_encoder, "build", slow)
    builder = ShardBuilder(JOB)
    with ThreadPoolExecutor(3) as pool:
        early = pool.submit(builder.load_encoders)
        described = [pool.submit(builder.describe, "train") for _ in range(2)]
        early.result()
    assert loaded == ["cpu"]
    assert described[0].result() is described[1].result()


def test_what_cannot_be_loaded_is_said_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: str = "cpu") -> plain_encoder.PlainEncoder:
        raise ConfigError(f"no weights for {device}")

    monkeypatch.setattr(plain_encoder, "build", broken)
    actor = object.__new__(EncoderActor)  # without Ray's counters
    actor._builder = ShardBuilder(JOB)
    actor.load_encoders()
    with pytest.raises(ConfigError, match="no weights for cpu"):
        actor.describe("train")
