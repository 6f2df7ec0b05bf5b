"""Nearest neighbours: no weights, but the features and labels of some pixels of the training set.

Owns the bank, the same number of labelled pixels from every step, drawn evenly, and the vote: the most alike by cosine,
weighted by a softmax of their cosines.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.probes import Probe
from vpd.probes.readouts import readout_of
from vpd.tasks import Task

AT_ONCE = 4096  # pixels compared with the bank at a time


def build(
    channels: int,
    task: Task,
    steps: int,
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
    kept: int = 50_000,
    seed: int = 0,
) -> KnnProbe:
    """The probe.

    Args:
        channels: of the features.
        task: whose labels it learns.
        steps: that it will take.
        neighbours: that vote.
        temperature: of the softmax over cosines that weighs their votes.
        kept: pixels in the bank.
        seed: of which are kept.

    Raises:
        ConfigError: a task that cannot be probed, or numbers that make no sense.
    """
    if neighbours < 1 or temperature <= 0 or kept < max(neighbours, steps):
        raise ConfigError(
            f"knn probe: neighbours {neighbours}, temperature {temperature:g}, kept {kept}; expected a neighbour and a "
            f"positive temperature, and that no fewer are kept than vote, nor than there are steps ({steps})."
        )
    return KnnProbe(task, -(-kept // steps), neighbours, temperature, seed)


class KnnProbe(Probe):
    """See the module; `build` makes one."""

    def __init__(self, task: Task, per_step: int, neighbours: int, temperature: float, seed: int) -> None:
        self.task, self.readout = task, readout_of(task, bins=0, min_depth_m=0)
        self.per_step, self.neighbours, self.temperature = per_step, neighbours, temperature
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: list[tuple[torch.Tensor, torch.Tensor]] = []

    @torch.no_grad()
    def learn(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> None:
        rows, columns = features.shape[-2:]
        values = self.readout.values(batch, (rows, columns), view_px).flatten()  # [B h w]
        labelled = (~values.isnan()).nonzero()[:, 0]
        drawn = torch.randperm(len(labelled), generator=self.generator)[: self.per_step].to(labelled.device)
        chosen = labelled[drawn]
        vectors = features.movedim(1, -1).flatten(0, 2)[chosen]
        self.parts.append((F.normalize(vectors, dim=-1), values[chosen]))

    @torch.no_grad()
    def answer(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> torch.Tensor:
        keys, values = self._bank()
        asked = F.normalize(features.movedim(1, -1), dim=-1)  # [B, h, w, C]
        votes = []
        for part in asked.flatten(0, 2).split(AT_ONCE):
            cosines, places = (part @ keys.T).topk(min(self.neighbours, len(keys)))  # [n, K]
            votes.append(self.readout.vote(values[places], (cosines / self.temperature).softmax(-1)))
        maps = torch.cat(votes).unflatten(0, asked.shape[:3]).movedim(-1, 1)  # [B, c, h, w]
        return self.readout.of_votes(maps, self.task.out_size_px(batch), view_px)

    def _bank(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Features `[N, C]` and labels `[N]`.

        Raises:
            ConfigError: no pixel seen had a label.
        """
        if len(self.parts) > 1:
            keys, values = zip(*self.parts, strict=True)
            self.parts = [(torch.cat(keys), torch.cat(values))]
        if not self.parts or not len(self.parts[0][1]):
            raise ConfigError("knn probe: no pixel that it was shown has a label, so nothing is like any other.")
        return self.parts[0]
