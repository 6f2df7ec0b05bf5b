"""The digest that is made in a thread is that of the weights as they were given."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.encoders import _loading
from pipeline.encoders._loading import WeightsDigest, weights_sha256


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Conv2d(3, 5, 3))


def test_a_module_that_is_cast_meanwhile_has_the_digest_of_before() -> None:
    module = network()
    expected = weights_sha256(module.named_parameters())
    digest = WeightsDigest(module.named_parameters())
    module.half().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert digest.hex() == expected
    assert weights_sha256(module.named_parameters()) != expected


def test_a_copy_has_it_too() -> None:
    digest = WeightsDigest(network().named_parameters())
    assert copy.deepcopy(digest).hex() == pickle.loads(pickle.dumps(digest)).hex() == digest.hex()


def test_what_goes_wrong_is_said_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(parts: Any) -> str:
        raise MemoryError("no room")

    monkeypatch.setattr(_loading, "weights_sha256", fails)
    digest = WeightsDigest([])
    with pytest.raises(MemoryError, match="no room"):
        digest.hex()
