"""Relative depth as a picture in latents, in one step: the UNet's own output against the label latent (Lotus-D).

Owns what a training sample and an evaluated picture are: the latent and the mask that a set with label latents holds,
the null prompt as context, one view that shows a whole picture, and answers from 0 to 1 that have no unit
(docs/methods/label_latents.md#training). Loss and metric are beside it, views and depth `vpd.tasks.depth`'s.

Or the loss is of the decoded answer, in the units that the label latents were made of, with a free scale and shift
(`loss: decoded`, E2E-FT): the head then decodes in training, too.

What a record holds, besides what a depth record does: `label_latent`, `label_mask`, `label_ends`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shards.errors import ConfigError, SchemaMismatch, did_you_mean
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction, main_output
from vpd.tasks.depth.draw import drawn, legend_of
from vpd.tasks.depth.labels import fill_metres
from vpd.tasks.depth.metric import CROPS
from vpd.tasks.depth.task import DepthTask
from vpd.tasks.depth.view_fit import VIEW_FITS, ViewFit
from vpd.tasks.depth_label_latents.loss import affine_invariant, masked_mse
from vpd.tasks.depth_label_latents.metric import AlignedDepthMetric

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.contract.schema import Schema
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch

SPACES = ("depth", "disparity")
LOSSES = {"latent": ("label_latent", "label_mask"), "decoded": ("depth", "label_ends")}  # and the fields they read
LATENT, MASK = LOSSES["latent"]
SHOWN = "shown"  # what the decoded answer is held against
PNG_MAX = 65535


def build(
    space: str = "depth",
    tokens: int = 77,
    latent_scale: float = 0.18215,
    latent_shift: float = 0.0,
    max_depth_m: float = 10.0,
    min_depth_m: float = 1e-3,
    crop: str = "nyu",
    view_fit: str = "padded",
    loss: str = "latent",
) -> DepthLabelLatentsTask:
    """The task.

    Args:
        space: what the label latents show, as they were made: `depth`, or `disparity`; scores are aligned in it.
        tokens: of the null prompt, the one row of the class table (`data.table`).
        latent_scale: factor on the raw label latents that the UNet answers in; 0.18215 in SD.
        latent_shift: taken off them before; 0.0609 in SD 3.
        max_depth_m, min_depth_m, crop: which measured depths evaluation counts, as of task depth.
        view_fit: how the views of the sets were made to fit the encoder: `padded` or `enlarged`.
        loss: squared error of the label `latent` (Lotus), or of what it shows, `decoded` by the frozen VAE and aligned
            by scale and shift (E2E-FT).

    Raises:
        ConfigError: a value that is not one of these.
    """
    if not 0 < min_depth_m < max_depth_m or tokens < 1 or not latent_scale > 0:
        raise ConfigError(
            f"task depth_label_latents: min_depth_m {min_depth_m}, max_depth_m {max_depth_m}, tokens {tokens}, "
            f"latent_scale {latent_scale}; expected 0 < min < max, 1 token or more, and a scale above 0."
        )
    for name, value, choices in (
        ("space", space, SPACES),
        ("crop", crop, CROPS),
        ("view_fit", view_fit, VIEW_FITS),
        ("loss", loss, tuple(LOSSES)),
    ):
        if value not in choices:
            raise ConfigError(
                f"task depth_label_latents: {name} {value!r} is unknown; choose one of {', '.join(choices)}."
                f"{did_you_mean(value, choices)}"
            )
    if loss == "decoded" and view_fit == "enlarged":
        raise ConfigError(
            "task depth_label_latents: loss is decoded and view_fit enlarged: the decoded answer has the pixels of the "
            "enlarged view, and depth has those before. Set loss=latent, or build padded views."
        )
    fit = ViewFit.named(view_fit, False)
    limits_m = (min_depth_m, max_depth_m)
    return DepthLabelLatentsTask(space, tokens, (latent_scale, latent_shift), limits_m, crop, fit, loss)


class DepthLabelLatentsTask(DepthTask):
    """See the module; `build` makes one."""

    name = "depth_label_latents"
    head = "label_latent"
    names_classes = False
    metric_name = "abs_rel"
    export_suffixes = (".npy", ".tif", ".tiff")

    def __init__(
        self,
        space: str,
        n_tokens: int,
        scale_and_shift: tuple[float, float],
        limits_m: tuple[float, float],
        crop: str,
        fit: ViewFit,
        loss: str,
    ) -> None:
        super().__init__(*limits_m, crop=crop, per_image=False, focus=0.0, fit=fit, fill=None, png_per_m=float(PNG_MAX))
        self.space, self.n_tokens = space, n_tokens
        self.decodes, self.label_fields = loss == "decoded", LOSSES[loss]
        self.latent_scale, self.latent_shift = scale_and_shift

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """The whole picture at once: each of several windows would have a scale of its own."""
        return {"name": "exact", "size": list(size_px)}

    def tokens(self, schema: Schema) -> int:
        """Those of the null prompt."""
        return self.n_tokens

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """The scale of the latents.

        Raises:
            ConfigError: a table of classes in place of the null prompt.
        """
        if rows not in (None, 1):
            raise ConfigError(
                f"task {self.name} attends to the null prompt, and the class table has {rows} rows. Make one "
                "by `diffusion-perception prompts names=[''] prompts.templates=name prompts.mode=tokens "
                f"text.length={self.n_tokens} out=data/prompts/null` and set data.table=data/prompts/null."
            )
        scales = {"latent_scale": self.latent_scale, "latent_shift": self.latent_shift}
        return {**scales, "decodes": True} if self.decodes else scales

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        """Of the drawn view: `label_latent` float16 `[C, h, w]`, raw, and `label_mask` uint8 `[h, w]`; or, for the loss
        of the decoded answer, `shown` float32 `[H, W]`: depth or disparity held between what -1 and 1 stand for, 0
        where nothing was measured or the view has no range.

        Raises:
            SchemaMismatch: the set's label latents show something else.
        """
        self._check_label(sample.record.shards.manifest)
        if self.decodes:
            view = self.fit.drawn(sample)
            depth = np.empty(self.fit.predicted_px(view), np.float32)  # [H, W]
            fill_metres(depth, sample, view)
            return {SHOWN: held(depth, sample.array("label_ends"), self.space)}
        return {LATENT: sample.array(LATENT), MASK: sample.array(MASK)}

    def notices(self, manifest: Manifest) -> Sequence[str]:
        """None; a set of another space is refused."""
        self._check_label(manifest)
        return ()

    def context(self, batch: DeviceBatch) -> torch.Tensor:
        """The one row of the table, int64 `[B]`."""
        return torch.zeros(len(batch), dtype=torch.int64, device=batch.latents.device)

    def out_size_px(self, batch: DeviceBatch) -> None:
        """None: as the decoder makes it, of the views' own size."""

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """Squared error of predicted latents `[B, C, h, w]` in the UNet's scale, over measured cells; or of predicted
        maps `[B, 1, H, W]`, aligned, over measured pixels."""
        if self.decodes:
            return affine_invariant(main_output(logits)[:, 0], batch.labels[SHOWN])
        wanted = (batch.labels[LATENT].float() - self.latent_shift) * self.latent_scale
        return masked_mse(main_output(logits), wanted, batch.labels[MASK])

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor:
        """The cells, or pixels, that were measured."""
        return (batch.labels[SHOWN if self.decodes else MASK] != 0).sum().float()

    def new_metric(self) -> AlignedDepthMetric:
        """Empty sums of the nine scores."""
        return AlignedDepthMetric(self.space, self.min_depth_m, self.max_depth_m, self.crop)

    def samples(self, record: StoredRecord, *text_fields: str) -> dict[str, np.ndarray]:
        """One sample per view: `latent` float16 `[V, C, h, w]`.

        Raises:
            ConfigError: a picture in several windows.
        """
        whole = {(view.box_px, view.window_px, view.resized_px) for view in self.fit.recorded(record)}
        if len(whole) > 1:
            raise ConfigError(
                f"record {record.key} is shown in {len(whole)} windows, and relative depth has a scale of its own in "
                "each. Build the set with one view of the whole picture, such as views={name: exact, size: [480, 640]}."
            )
        return {"latent": record.array("latent")}

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """Relative depth or disparity of the picture, `[1, 1, H, W]` from 0 to 1."""
        return (super().predictions(record, outputs) + 1) / 2

    def steady(self, image: np.ndarray, answer: np.ndarray, style: Style) -> Style:
        """The colours of a video span all of 0 to 1, unless a range is chosen."""
        return style if style.far_m else replace(style, near_m=0.0, far_m=1.0)

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """Relative depth `[1, H, W]` in colours, uint8 `[H, W, 3]`, the nearest as depth's nearest."""
        return drawn(self._far_is_1(answer[0]), style)

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """What the ends of the colours are, without a unit."""
        found = legend_of(self._far_is_1(answer[0]), style)
        return found if found.empty else replace(found, title=f"relative {self.space}, no unit", ends=("near", "far"))

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write relative depth or disparity `[1, H, W]`: float32 in `.npy` or `.tif`, else a 16-bit PNG whose 65535 is
        1, which its text chunk states."""
        values, suffix = answer[0].astype(np.float32), Path(path).suffix.lower()
        if suffix == ".npy":
            np.save(path, values)
        elif suffix in (".tif", ".tiff"):
            Image.fromarray(values).save(path, format="TIFF")
        else:
            stated = PngInfo()
            stated.add_text("unit", f"1/{PNG_MAX} of relative {self.space}, no unit of length")
            levels = (values * PNG_MAX).round().clip(0, PNG_MAX).astype(np.uint16)
            Image.fromarray(levels).save(path, format="PNG", pnginfo=stated)

    def _far_is_1(self, values: np.ndarray) -> np.ndarray:
        return 1 - values if self.space == "disparity" else values

    def _check_label(self, manifest: Manifest) -> None:
        made = manifest.recipe.get("label_latents") or {}
        space = made.get("space")
        if space != self.space:
            raise SchemaMismatch(
                f"{manifest.name} holds label latents of {space or made.get('label', 'nothing')}, task.space is "
                f"{self.space}. Make them by `diffusion-perception labels space={self.space}`, or set task.space."
            )


def held(depth_m: np.ndarray, ends: np.ndarray, space: str) -> np.ndarray:
    """Depth `[H, W]` in metres, 0 = no measurement, in the units of `ends`, `[2]`, and held between them: float32, 0
    where there is no measurement, and everywhere without a range."""
    low, high = ends
    measured = (depth_m > 0) & bool(low < high)
    values = np.zeros(depth_m.shape, np.float32)
    chosen = depth_m[measured]
    values[measured] = (1 / chosen if space == "disparity" else chosen).clip(low, high)
    return values
