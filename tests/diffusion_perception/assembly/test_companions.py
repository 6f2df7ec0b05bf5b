"""Text encoders as functions on tensors: with a form of their own, and over NumPy without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffusion_perception.assembly.companions import states_on_device
from pipeline.encoders import clip_text
from tests.waiting import NothingWaits
from vpd.model.device_batch import Encoders, to_batch

CPU = torch.device("cpu")


def test_tokens_of_a_batch_become_states_without_waiting(tiny_sd: Path) -> None:
    encoder = clip_text.build(str(tiny_sd), length=8)
    tokens = encoder.tokenize(["a dog", "the left chair"])
    arrays = {"latent": np.zeros((2, 4, 8, 8), np.float16), "tokens": tokens}
    with NothingWaits():
        found = to_batch(arrays, Encoders(text=states_on_device(encoder, CPU)), CPU).text
    assert found is not None
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), encoder.encode(tokens))
    (found * torch.ones(1, requires_grad=True)).sum().backward()  # as an adapter does


def test_an_encoder_that_speaks_numpy_only_is_taken_too() -> None:
    class Counting:
        def encode(self, tokens: np.ndarray) -> np.ndarray:
            return np.repeat(tokens[..., None].astype(np.float16), 3, axis=-1)

    encoder: Any = Counting()
    found = states_on_device(encoder, CPU)(torch.tensor([[1, 2]], dtype=torch.int32))
    assert found.dtype == torch.float32
    assert found.tolist() == [[[1, 1, 1], [2, 2, 2]]]
