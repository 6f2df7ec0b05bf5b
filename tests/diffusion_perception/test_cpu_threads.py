"""How many threads compute: as many as a job has CPUs while it runs, and the caller's own number afterwards."""

from __future__ import annotations

import os

import pytest
import torch

from diffusion_perception.devices import cpu_threads

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _four_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.mark.parametrize(("cpus", "threads"), [(3.0, 3), (0.5, 1), (9.0, 4)])
def test_a_job_computes_on_its_cpus(cpus: float, threads: int) -> None:
    torch.set_num_threads(2)  # after a test conftest sets it back
    with cpu_threads(CPU, cpus):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_what_fails_leaves_them_as_they_were() -> None:
    torch.set_num_threads(2)  # after a test conftest sets it back
    with pytest.raises(RuntimeError, match="broken"), cpu_threads(CPU, 1):
        raise RuntimeError("broken")
    assert torch.get_num_threads() == 2


def test_beside_a_gpu_they_are_nobody_s() -> None:
    torch.set_num_threads(2)  # after a test conftest sets it back
    with cpu_threads(torch.device("cuda"), 1):
        assert torch.get_num_threads() == 2
