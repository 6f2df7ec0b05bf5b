"""A trial over marked pairs of pictures: matches by features alone, and the share of them that is right (PCK).

Owns which pictures are encoded when, each once a category, and how pairs are counted: by the mean of pairs (per image)
and of points, over all and in every category. The rule of a match is `vpd.features.matching`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_perception import plugins
from diffusion_perception.probing.job import ProbeJob
from diffusion_perception.probing.table import Row
from shards.errors import SourceError
from shards.progress import reports

if TYPE_CHECKING:
    import torch

    from diffusion_perception.features.reading import Features
    from diffusion_perception.features.seen import Seen
    from pipeline.keypoint_pairs import KeypointPair, KeypointPairs

ALPHAS = (0.1, 0.05, 0.01)  # shares of the longer side of the target's box


def pairs_of(job: ProbeJob) -> KeypointPairs:
    """What the job names.

    Raises:
        ConfigError: no such dataset, or options it does not take.
        SourceError: it is not there, or not as published.
    """
    return plugins.build_plugin(plugins.KEYPOINT_PAIRS, job.pairs, "pairs")


def probe_pairs(
    job: ProbeJob, features: Features, timestep: float, prompt: str, pairs: Sequence[KeypointPair]
) -> list[Row]:
    """The rows of a trial.

    Raises:
        SourceError: a picture of another size than its pair says.
        Reject: one that cannot be read.
    """
    chosen = pairs[: job.limit] if job.limit else pairs
    report = reports(f"[probe] t={timestep:g}, prompt {prompt!r}:", "pairs")
    right: dict[str, dict[str, list[torch.Tensor]]] = {layer: {} for layer in job.layers}  # bool [A, K] a pair
    shapes: dict[str, tuple[int, tuple[float, float]]] = {}
    done = 0
    for category, of_category in groupby(chosen, key=lambda pair: pair.category):
        seen: dict[Path, Seen] = {}
        for pair in of_category:
            for path, size_px in ((pair.source, pair.source_px), (pair.target, pair.target_px)):
                if path not in seen:
                    seen[path] = _seen(job, features, timestep, prompt.replace("{category}", category), path, size_px)
            for layer in job.layers:
                source, target = seen[pair.source][layer], seen[pair.target][layer]
                shapes[layer] = source.values.shape[1], source.stride_px
                right[layer].setdefault(category, []).append(_right(pair, source.values[0], target.values[0]))
            done += 1
            report(done, len(chosen))
    rows = []
    for layer, by_category in right.items():
        scores = pck([one for found in by_category.values() for one in found])
        categories = {category: pck(found) for category, found in by_category.items()}
        rows.append(Row(layer, timestep, prompt, "match", *shapes[layer], scores, categories))
    return rows


def pck(right: Sequence[torch.Tensor]) -> dict[str, float]:
    """Scores of pairs, bool `[A, K]` each: whether its points are right at every alpha."""
    import torch

    images = torch.stack([one.double().mean(1) for one in right]).mean(0)  # [A]
    points = torch.cat([one.double() for one in right], dim=1).mean(1)
    scores = {f"PCK@{alpha:g} image": float(value) for alpha, value in zip(ALPHAS, images, strict=True)}
    return scores | {f"PCK@{alpha:g} point": float(value) for alpha, value in zip(ALPHAS, points, strict=True)}


def _right(pair: KeypointPair, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Whether a pair's points are right at every alpha, bool `[A, K]`."""
    import torch

    from vpd.features.matching import are_right, matches

    points = torch.tensor(pair.source_points_px, device=source.device).long()  # [K, 2]
    found = matches(source, target, points, pair.source_px, pair.target_px)
    expected = torch.tensor(pair.target_points_px, device=found.device)
    return torch.stack([are_right(found, expected, pair.target_box_px, alpha) for alpha in ALPHAS])


def _seen(
    job: ProbeJob, features: Features, timestep: float, prompt: str, path: Path, size_px: tuple[int, int]
) -> Seen:
    from pipeline.files.photos import load_picture

    picture = load_picture(path)
    if (picture.height, picture.width) != size_px:
        raise SourceError(
            f"{path}: has {picture.height} x {picture.width} pixels, the annotations of its pairs say "
            f"{size_px[0]} x {size_px[1]}. Unpack the dataset again."
        )
    return features(
        [picture],
        prompt,
        layers=job.layers,
        timestep=timestep,
        noise=job.noise,
        posterior=job.posterior,
        ensemble=job.ensemble,
        seed=job.seed,
        size_px=job.size_px,
        latent_scale=job.latent_scale,
        batch_size=job.batch_size,
    )
