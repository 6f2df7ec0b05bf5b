"""Pictures of no set, as the model reads them: cut into views, and encoded as the model's training set was.

Owns the way from a file or an array to what stands in for a record, whether there is room for it, and the batches in
which views go through an encoder, across pictures. What the model makes of them is `predictor`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.memory import check_fits
from diffusion_perception.predicting.picture_record import (
    EncodedPicture,
    Picture,
    Question,
    as_pixels,
    class_id_of,
    meta_of,
    views_of,
)
from shards.errors import Reject
from shards.geometry.view import View

if TYPE_CHECKING:
    from diffusion_perception.trained import Trained
    from vpd.tasks import Pictured


@dataclass
class PictureOnItsWay:
    """A picture between its file and the model, or why there are no more of a video."""

    picture: Any
    image: np.ndarray | None = None  # uint8 [H, W, 3]
    runs: list[list[View]] = field(default_factory=list)
    error: Reject | None = None
    record: Any = None  # an EncodedPicture: tasks read it as a record of a set

    @property
    def views(self) -> list[View]:
        return [view for run in self.runs for view in run]


@dataclass(frozen=True)
class Encoding:
    """How a trained model's pictures and sentences are encoded.

    Attributes:
        task: which says what working on a picture takes.
        plan: of the views a picture is cut into.
        size_px: (height, width) of a view.
        class_names: that a picture can be asked about.
        memory_gb: what one picture may take; 0: what the machine has available.
        image, text, vision: the encoders; None where the model reads nothing of the kind.
    """

    task: Pictured
    plan: Any
    size_px: tuple[int, int]
    class_names: Sequence[str]
    memory_gb: float
    image: Any
    text: Any = None
    vision: Any = None

    @classmethod
    def of(cls, trained: Trained, plan: Any, memory_gb: float) -> Encoding:
        """The encoding that a trained model's checkpoint or folder says."""
        return cls(
            trained.task,
            plan,
            trained.size_px,
            trained.class_names,
            memory_gb,
            image=trained.encoder("image"),
            text=trained.encoder("text") if trained.task.uses_text else None,
            vision=trained.encoder("vision") if trained.model.reads_vision else None,
        )

    def read(self, picture: Picture | Reject, asked: Question, *, whole: bool) -> PictureOnItsWay:
        """A picture's pixels and views; runs on another thread.

        Args:
            whole: every number behind the answers is wanted, which takes more room (`vpd.tasks.Pictured`).
        """
        if isinstance(picture, Reject):  # how a video ends
            return PictureOnItsWay(picture, error=picture)
        try:
            image = as_pixels(picture)
            runs = views_of(self.plan, image, asked.boxes)
            height, width = image.shape[:2]
            n_views, n_sentences = sum(map(len, runs)), max(len(asked.sentences), 1)
            needed = self.task.working_bytes((height, width), self.size_px, n_views, n_sentences, whole=whole)
            check_fits(needed, self.memory_gb * 1e9, f"a picture of {height} x {width} pixels")
        except Reject as reject:
            return PictureOnItsWay(picture, error=reject)
        return PictureOnItsWay(picture, image, runs)

    def encoded(
        self, pictures: Iterable[PictureOnItsWay], asked: Question, batch_size: int
    ) -> Iterator[PictureOnItsWay]:
        """The same with their records: latents of the views, packed across pictures, and states of the sentences."""
        from vpd.inference.packing import packed

        text = None
        if self.text is not None:  # once for all pictures
            text = self.text.encode(self.text.tokenize(list(asked.sentences))).astype(np.float16)  # [S, L, D]
        class_id = class_id_of(asked.class_name, self.class_names)
        shown = ((one, rendered(one)) for one in pictures)
        for one, rows in packed(shown, batch_size, self._said, lambda row: row.shape):
            if one.image is not None:
                arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}  # latent [V, C, h, w]
                finite = all(np.isfinite(array).all() for array in arrays.values())
                if text is not None:
                    arrays["text"] = text
                if not finite:
                    one.error = Reject("its latents are not finite; set encoders.dtype to float32")
                else:
                    meta = meta_of(one.image, one.runs, class_id, len(asked.sentences))
                    one.record = EncodedPicture("image", meta, arrays)
            yield one

    def _said(self, rows: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """What the encoders make of each view, float32 [3, h, w]."""
        pixels = np.stack(rows)
        arrays = {"latent": self.image.encode(pixels)["latent"]}
        if self.vision is not None:
            arrays |= self.vision.encode(pixels)
        return [{name: array[row] for name, array in arrays.items()} for row in range(len(rows))]


def rendered(one: PictureOnItsWay) -> Iterator[np.ndarray]:
    """What the encoder is shown of a picture, float32 [3, h, w] each, rendered as it is asked for."""
    from pipeline.rendering.geometry import render, to_pixels

    for view in one.views:
        assert one.image is not None
        yield to_pixels([render(one.image, view)], view.size_px, pad_before_px=[view.pad_before_px])[0]
