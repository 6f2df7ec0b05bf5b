"""What probes find in features that hold it linearly, and that they find nothing in features that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.probes import knn, linear
from vpd.probes.readouts.cells import at_middles
from vpd.probes.readouts.classes import Classes
from vpd.probes.readouts.metres import Metres
from vpd.tasks import depth, refer, seg

VIEW_PX, GRID, CHANNELS = (32, 48), (4, 6), 12
STEPS = 60


def batches(kind: str, steps: int, holds: bool = True) -> list[tuple[torch.Tensor, DeviceBatch]]:
    """Features `[2, 12, 4, 6]` and labels of views of 32 x 48 pixels, in three channels of them or nowhere."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(steps):
        features = torch.randn(2, CHANNELS, *GRID, generator=generator)
        features[:, :3] *= 2
        cells = features[:, :3].argmax(1) if holds else torch.randint(3, (2, *GRID), generator=generator)
        label = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)  # [2, 32, 48]
        if kind == "seg":
            labels = {"label": label.byte()}
        else:
            labels = {"depth": 1.0 + 3 * label.float(), "out_px": torch.tensor([VIEW_PX, VIEW_PX])}
        made.append((features, DeviceBatch(features, None, labels)))
    return made


def scores(probe: Any, kind: str, holds: bool) -> float:
    """Share of the labels found, at the middles of cells, after learning."""
    *learned, (features, batch) = batches(kind, STEPS + 1, holds)
    for seen, given in learned:
        probe.learn(seen, given, VIEW_PX)
    answer = probe.answer(features, batch, VIEW_PX)
    if kind == "seg":
        assert answer.shape == (2, 3, *GRID)
        return (answer.argmax(1) == batch.labels["label"][:, 4::8, 4::8]).float().mean().item()
    assert answer.shape == (2, 1, *VIEW_PX)
    middles = answer[:, 0, 4::8, 4::8]
    return ((middles - batch.labels["depth"][:, 4::8, 4::8]).abs() < 1.5).float().mean().item()


CASES: dict[str, Any] = {
    "linear": lambda task: linear.build(CHANNELS, task, STEPS, lr=0.05),
    "direct": lambda task: linear.build(CHANNELS, task, STEPS, lr=0.05, bins=0),
    "knn": lambda task: knn.build(CHANNELS, task, STEPS, kept=4000),
}


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_classes_are_found_where_features_hold_them(name: str) -> None:
    task = seg.build(classes=3)
    assert scores(CASES[name](task), "seg", holds=True) > 0.75
    assert scores(CASES[name](task), "seg", holds=False) < 0.55


@pytest.mark.parametrize("name", CASES)
def test_metres_are_found_where_features_hold_them(name: str) -> None:
    task = depth.build(crop="none")
    assert scores(CASES[name](task), "depth", holds=True) > scores(CASES[name](task), "depth", holds=False) + 0.2


def test_bins_are_weighted_by_their_positive_part_and_a_tenth() -> None:
    numbers = torch.tensor([0.9, -5.0, 0.4]).view(1, 3, 1, 1)
    found = Metres(max_depth_m=9.0, min_depth_m=1.0, bins=3, enlarged=False).answer(numbers, (2, 2), (2, 2))
    expected_m = (1.0 * 1.0 + 0.1 * 5.0 + 0.5 * 9.0) / 1.6
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), expected_m))


def test_a_neighbours_vote_weighs_what_the_softmax_of_its_cosine_does() -> None:
    task = seg.build(classes=2)
    probe = knn.build(2, task, 1, neighbours=2, temperature=0.5, kept=2)
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0]]).view(1, 2, 1, 2)  # two cells: along x, and along y
    given = DeviceBatch(features, None, {"label": torch.tensor([[[0, 1]]], dtype=torch.uint8)})
    probe.learn(features, given, (1, 2))
    asked = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    share = torch.tensor([1 / 0.5, 0.0]).softmax(0)
    torch.testing.assert_close(probe.answer(asked, given, (1, 1))[0, :, 0, 0].exp(), share)


def test_labels_of_cells_in_the_padding_do_not_exist() -> None:
    label = torch.arange(12.0).view(1, 3, 4)  # of a view of 4 x 8
    found = at_middles(label, (2, 4), (4, 8))
    torch.testing.assert_close(found[0, 0], torch.tensor([5.0, 7.0, float("nan"), float("nan")]), equal_nan=True)
    assert found[0, 1].isnan().all()


def test_probes_that_cannot_be_are_refused() -> None:
    task = seg.build(classes=2)
    with pytest.raises(ConfigError, match="task refer cannot be probed"):
        linear.build(4, refer.build(), 10)
    with pytest.raises(ConfigError, match="lr -1"):
        linear.build(4, task, 10, lr=-1)
    with pytest.raises(ConfigError, match=r"than there are steps \(10\)"):
        knn.build(4, task, 10, neighbours=1, kept=9)
    with pytest.raises(ConfigError, match="bins 1"):
        linear.build(4, depth.build(), 10, bins=1)
    empty = knn.build(4, task, 1)
    with pytest.raises(ConfigError, match="no pixel that it was shown has a label"):
        empty.answer(torch.ones(1, 4, 1, 1), DeviceBatch(torch.ones(1), None, {}), (8, 8))


def test_the_classes_of_an_enlarged_view_are_those_of_the_whole_label() -> None:
    batch = DeviceBatch(torch.zeros(1), None, {"label": torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)})
    found = Classes(16, 255).values(batch, (2, 2), (8, 8))
    assert found.tolist() == [[[5, 7], [13, 15]]]
