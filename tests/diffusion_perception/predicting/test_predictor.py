"""`Predictor` on tiny models: many pictures as one, seams, precision, devices, memory, model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception import Predictor
from diffusion_perception.devices import chosen_device
from shards.errors import ConfigError, Reject

Models = Callable[[str], str]


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with a few blocks, uint8 [H, W, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([120 + 60 * np.sin(x / 17 + k) + 40 * np.cos(y / 11 - k) for k in range(3)], axis=-1)
    for _ in range(4):
        top, left = random.integers(0, height - 8), random.integers(0, width - 8)
        image[top : top + 20, left : left + 25] = random.integers(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def depth(model_folder: Models) -> Predictor:
    return Predictor(model_folder("depth"), device="cpu")


def test_many_pictures_are_each_as_if_alone_and_a_bad_one_stops_none(
    model_folder: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.from_pretrained(model_folder("refer"), device="cpu")
    for number, size in enumerate([(40, 66), (64, 64), (90, 30)]):
        Image.fromarray(scene(*size, number)).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    sentences = ["the red circle", "a wall"]
    given = [tmp_path / "0.png", tmp_path / "bad.png", scene(64, 64, 1), f"file://{tmp_path}/2.png"]
    batches: list[int] = []
    forward = predictor.trained.model.forward

    def counted(latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        batches.append(len(latents))
        return forward(latents, *rest)

    monkeypatch.setattr(predictor.trained.model, "forward", counted)
    found = list(predictor.many(iter(given), sentences, batch_size=4))
    assert batches == [4, 2], "sentences of several pictures share a pass"
    assert [one.picture for one in found[:2]] == given[:2]
    assert isinstance(found[1].error, Reject)
    assert "bad.png cannot be decoded" in str(found[1].error)
    assert not found[1].answers
    for one in (found[0], *found[2:]):
        assert one.image is not None
        logits = predictor(one.picture, sentences)
        assert logits.shape == (2, 2, *one.image.shape[:2])
        margin = np.abs(logits[:, 1] - logits[:, 0])
        for mask, (no, yes), sure in zip(one.answers, logits, margin > 1e-4, strict=True):
            assert mask.dtype == bool
            assert np.array_equal(mask[sure], (yes > no)[sure])


def test_pictures_are_taken_as_they_are_needed(depth: Predictor) -> None:
    taken = []

    def pictures() -> Any:
        for number in range(50):
            taken.append(number)
            yield scene(60, 60, number)

    stream = depth.many(pictures(), batch_size=2)
    assert next(stream).answers[0].shape == (1, 60, 60)
    assert len(taken) < 8
    assert not torch.is_inference_mode_enabled(), "what the caller does between pictures is none of ours"
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]


def edge_jumps(predictor: Predictor) -> float:
    """Mean jump from a column to the next across the edges of the windows."""
    across = []
    for seed in range(3):
        jumps = np.abs(np.diff(predictor(scene(60, 220, seed))[0, 0], axis=1)).mean(axis=0)  # [x]: from x to x + 1
        windows = {view.window_px for view in predictor.plan.views("", 60, 220)}
        edges = {x for x0, _, x1, _ in windows for x in (x0, x1)} - {0, 220}
        assert len(edges) >= 6, "windows of 60 columns, 40 apart, of pictures that are not resized"
        across += [jumps[x - 1] for x in edges]
    return float(np.mean(across))


def test_the_windows_of_a_picture_are_blended(depth: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left at their edges is what this noisy model predicts anywhere; `stitch` has the exact test."""
    blended = edge_jumps(depth)
    monkeypatch.setattr("vpd.tasks.depth.task.blend_of", lambda record: "mean")
    assert edge_jumps(depth) > 1.5 * blended


def test_a_picture_is_predicted_in_the_precision_of_evaluation(
    depth: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model runs in the context that `autocast_of` gives evaluation for the run's precision."""
    seen: list[tuple[bool, torch.dtype]] = []
    forward = depth.trained.model.forward

    def observed(*inputs: Any) -> torch.Tensor:
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        with torch.autocast("cpu", enabled=False):
            return forward(*inputs)

    monkeypatch.setattr(depth.trained.model, "forward", observed)
    for precision, expected in (("bfloat16", True), ("auto", False), ("float32", False)):
        monkeypatch.setattr(depth.trained, "precision", precision)
        found = depth(scene(60, 60))
        assert found.dtype == np.float32
        assert {enabled for enabled, _ in seen} == {expected}
        assert not expected or seen[0][1] == torch.bfloat16
        seen.clear()


def test_classes_of_a_picture_are_those_of_its_numbers(model_folder: Models) -> None:
    predictor = Predictor(model_folder("seg"), device="cpu")
    image = scene(70, 150)
    (found,) = predictor.many([image])
    (classes,) = found.answers
    assert classes.dtype == np.uint8
    numbers = predictor(image)
    assert numbers.shape == (1, 5, 70, 150)
    assert np.array_equal(classes, numbers[0].argmax(0))


def test_a_picture_that_does_not_fit_is_refused_with_the_estimate(model_folder: Models) -> None:
    predictor = Predictor(model_folder("seg"), device="cpu", memory_gb=0.001)
    small, large = predictor.many([scene(16, 20), scene(300, 400)])
    assert small.error is None
    assert large.error is not None
    assert "a picture of 300 x 400 pixels takes about 0.0" in str(large.error)
    assert "memory_gb allows 0.0 GB" in str(large.error)
    with pytest.raises(Reject, match="to predict"):
        predictor(scene(300, 400))


def test_questions_that_cannot_be_answered_are_refused_before_any_picture(
    model_folder: Models, depth: Predictor
) -> None:
    refer = Predictor(model_folder("refer"), device="cpu")
    with pytest.raises(ConfigError, match="say what to look for"):
        refer.many([])
    with pytest.raises(ConfigError, match=r"sentences is the text 'a wall'; expected a list"):
        refer.many([], "a wall")
    with pytest.raises(ConfigError, match=r"class_name=atic: not a class of this run. Did you mean 'attic'\?"):
        depth.many([], class_name="atic")


def test_devices_that_are_not_here_are_refused() -> None:
    assert chosen_device("cpu").type == "cpu"
    for name in ("cuda:99", "tpu", "cpu:1"):
        with pytest.raises(ConfigError, match=f"device={name}: torch sees no such device on this machine; there are:"):
            chosen_device(name)


def test_a_model_is_a_folder_or_an_id_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such folder, and not the id of a model on the hub"):
        Predictor.from_pretrained(str(tmp_path / "nothing" / "here"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="nobody/nothing: no such folder here, not in the hub's local cache"):
        Predictor.from_pretrained("nobody/nothing")
