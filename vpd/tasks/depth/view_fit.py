"""How the views of a set were made to fit the encoder, and so what of each is labelled and predicted.

Owns the two ways (docs/methods/depth.md), and refusing views that were made another way than the task says. Labels are
`labels`', predictions put together `picture`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shards.errors import ConfigError, SchemaMismatch
from shards.geometry.view import Size, View, drawn_view, recorded_views

if TYPE_CHECKING:
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord

VIEW_FITS = ("padded", "enlarged")


@dataclass(frozen=True)
class ViewFit:
    """One of `VIEW_FITS`. Make one with `named`.

    Attributes:
        enlarged: enlarged to the encoder's size, and predicted in the size before; otherwise padded below and to the
            right.
        crop_padding: the padding is not predicted.
    """

    enlarged: bool
    crop_padding: bool

    @staticmethod
    def named(name: str, crop_padding: bool) -> ViewFit:
        """Enlarged views have nothing but their content to predict."""
        enlarged = name == "enlarged"
        return ViewFit(enlarged, crop_padding or enlarged)

    def drawn(self, sample: Sample) -> View:
        """The drawn view of a sample. SchemaMismatch: there is none, or it was made to fit another way."""
        return self._checked(drawn_view(sample), sample.key)

    def recorded(self, record: StoredRecord) -> list[View]:
        """All views of a record. SchemaMismatch as of `drawn`."""
        return [self._checked(view, record.key) for view in recorded_views(record)]

    def predicted_px(self, view: View) -> Size:
        """Size of a view's label and prediction."""
        return view.content_px if self.crop_padding else view.size_px

    def check_alike(self, view: View, batch_px: Sequence[int], key: str) -> None:
        """SchemaMismatch for a view of another size than the batch it is in."""
        if self.predicted_px(view) != batch_px:
            raise SchemaMismatch(
                f"record {key}: a view of {self.predicted_px(view)} pixels in a batch of {batch_px}; use batches of one"
            )

    def one_size(self, sizes_px: Iterable[Sequence[int]]) -> Size:
        """The size that all views of a batch are predicted in. ConfigError if there are several."""
        sizes = {(height, width) for height, width in sizes_px}
        if len(sizes) > 1:
            raise ConfigError(
                f"task depth: views of one batch show {sorted(sizes)} pixels of picture each. Set "
                "task.crop_padding=false, in training as in evaluation, for a set whose views differ in padding."
            )
        return sizes.pop()

    def _checked(self, view: View, key: str) -> View:
        if any(view.pad_before_px) or (view.is_padded if self.enlarged else view.enlarged_px is not None):
            raise SchemaMismatch(
                f"record {key}: a view shows {view.shown_px} of {view.content_px} pixels on a canvas of "
                f"{view.size_px}, padding before it {view.pad_before_px}; task.view_fit is "
                f"{VIEW_FITS[self.enlarged]}. Set view_fit to how the set's views were made."
            )
        return view
