"""Surface normals as a picture in latents, in one step: the UNet's own output against the label latent (Lotus-D).

Owns what the three channels are: a unit vector of each pixel, x to the right, y up and z to whoever looks; that a view
that was mirrored answers with mirrored vectors; and what normals are scored against, which are made of a record's depth
as the set's label latents were (docs/methods/label_latents.md#normals). The rest is `vpd.tasks.depth_label_latents`'.

What a record holds, besides what a depth record does: `label_latent`, `label_mask`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from shards.errors import ConfigError, SchemaMismatch, did_you_mean
from shards.geometry.normals import NormalsOf
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.tasks.depth.view_fit import VIEW_FITS, ViewFit
from vpd.tasks.depth_label_latents.task import DepthLabelLatentsTask
from vpd.tasks.normals_label_latents.metric import NormalsMetric

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.reading.reader import StoredRecord


DIRECTIONS = (((255, 128, 128), "to the right"), ((128, 255, 128), "up"), ((128, 128, 255), "to the viewer"))


def build(
    tokens: int = 77,
    latent_scale: float = 0.18215,
    latent_shift: float = 0.0,
    view_fit: str = "padded",
) -> NormalsLabelLatentsTask:
    """The task.

    Args:
        tokens: of the null prompt, the one row of the class table (`data.table`).
        latent_scale: factor on the raw label latents that the UNet answers in; 0.18215 in SD.
        latent_shift: taken off them before; 0.0609 in SD 3.
        view_fit: how the views of the sets were made to fit the encoder: `padded` or `enlarged`.

    Raises:
        ConfigError: a value that is not one of these.
    """
    if tokens < 1 or not latent_scale > 0:
        raise ConfigError(
            f"task normals_label_latents: tokens {tokens}, latent_scale {latent_scale}; expected 1 token or more, and "
            "a scale above 0."
        )
    if view_fit not in VIEW_FITS:
        raise ConfigError(
            f"task normals_label_latents: view_fit {view_fit!r} is unknown; choose one of {', '.join(VIEW_FITS)}."
            f"{did_you_mean(view_fit, VIEW_FITS)}"
        )
    return NormalsLabelLatentsTask(tokens, (latent_scale, latent_shift), ViewFit.named(view_fit, False))


class NormalsLabelLatentsTask(DepthLabelLatentsTask):
    """See the module; `build` makes one."""

    name = "normals_label_latents"
    metric_name = "mean_deg"
    export_suffixes = (".npy",)

    def __init__(self, n_tokens: int, scale_and_shift: tuple[float, float], fit: ViewFit) -> None:
        super().__init__("depth", n_tokens, scale_and_shift, (1e-3, 1e3), "none", fit, "latent")

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """As of depth, and that all three channels are the answer."""
        return {**super().head_options(rows), "channels": 3}

    def new_metric(self) -> NormalsMetric:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Empty sums of the angles."""
        return NormalsMetric()

    def samples(self, record: StoredRecord, *text_fields: str) -> dict[str, np.ndarray]:
        """One sample per view: `latent` float16 `[V, C, h, w]`. A picture may be shown in several windows: a direction
        is the same in each."""
        return {"latent": record.array("latent")}

    def picture(self, record: StoredRecord, outputs: torch.Tensor) -> tuple[torch.Tensor, tuple[slice, slice]]:
        """Unit vectors `[3, H, W]` of a record's picture, zero where there is no direction, and the part of it that the
        views show. The vectors of mirrored views are mirrored before all are averaged."""
        views = self.fit.recorded(record)
        flips = torch.tensor([view.flip for view in views], device=outputs.device)[:, None, None, None]
        sign = torch.tensor([-1.0, 1.0, 1.0], device=outputs.device, dtype=outputs.dtype)[:, None, None]
        found, part = super().picture(record, torch.where(flips, outputs * sign, outputs))
        return torch.nn.functional.normalize(found.float(), dim=0), part

    def targets(self, record: StoredRecord) -> np.ndarray:
        """Normals of the whole picture's depth, float32 `[H, W, 3]`, zero where not known, made as the set's label
        latents were."""
        manifest = record.shards.manifest
        self._check_label(manifest)
        made = manifest.recipe["label_latents"]
        of_depth = NormalsOf(made["intrinsics"], made["window_px"], made["tolerance"])
        return of_depth(super().targets(record), record.key)

    def score(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, metric: NormalsMetric, record: StoredRecord, outputs: torch.Tensor, targets: np.ndarray | None = None
    ) -> None:
        """Count a record's picture from the predictions `[V, 3, h, w]` of its views."""
        found, part = self.picture(record, outputs)
        known = (self.targets(record) if targets is None else targets)[part]  # [H, W, 3]
        metric.update(found, torch.from_numpy(np.ascontiguousarray(np.moveaxis(known, 2, 0))))

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """Unit vectors of the picture, `[1, 3, H, W]`."""
        return self.picture(record, outputs)[0][None]

    def working_bytes(
        self, size_px: tuple[int, int], view_px: tuple[int, int], views: int, sentences: int, *, whole: bool
    ) -> int:
        """Three times what one channel takes."""
        return 3 * super().working_bytes(size_px, view_px, views, sentences, whole=whole)

    def steady(self, image: np.ndarray, answer: np.ndarray, style: Style) -> Style:
        """The colours of a direction are the same in every picture."""
        return style

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """Vectors `[3, H, W]` as the field colours them, uint8 `[H, W, 3]`: -1 to 1 is 0 to 255 of red, green, blue."""
        return _levels(answer)

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """What the colours say, in words; there is no scale."""
        empty = not answer.any()
        title = "no normals" if empty else "surface normals"
        return Legend(title, () if empty else DIRECTIONS, empty=empty)

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write vectors `[3, H, W]`: float32 `[H, W, 3]` in `.npy`, else the colours of `draw` as a PNG."""
        if Path(path).suffix.lower() == ".npy":
            np.save(path, np.moveaxis(answer, 0, 2).astype(np.float32))
        else:
            Image.fromarray(_levels(answer)).save(path, format="PNG")

    def _check_label(self, manifest: Manifest) -> None:
        label = (manifest.recipe.get("label_latents") or {}).get("label", "nothing")
        if label != "normals":
            raise SchemaMismatch(
                f"{manifest.name} holds label latents of {label}, task normals_label_latents learns normals. Make them "
                "by `diffusion-perception labels label=normals intrinsics=[fx,fy,cx,cy]`."
            )


def _levels(vectors: np.ndarray) -> np.ndarray:
    """`[3, H, W]` from -1 to 1 as uint8 `[H, W, 3]`."""
    return ((np.moveaxis(vectors, 0, 2) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
