"""The first stage of a build that something was built before: what of an earlier record can be taken over.

A record is *kept*, byte for byte, if the source's shared files and its own are what they were. Otherwise it is
rendered again, and only encoded if that shows the encoder anything else. Owns this decision, and noting what every
record is made of; rendering is `stages`', earlier records are `previous`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.building.label_forms import quick_labels
from pipeline.building.ledger import Rejected
from pipeline.building.previous import Earlier, EarlierRecords
from pipeline.building.recipe import LabelForm
from pipeline.building.stages import Kept, Outcome, RenderedExample, rendered
from pipeline.example import Inside, Source
from pipeline.views import ViewPlan
from shards.contract.origins import Origin, SourceFile, look, look_inside
from shards.errors import Reject


class FirstStage:
    """Callable in any thread, once for each key. `origins` fills up as it is called.

    Args:
        shared: hash of what all records of the source depend on.
        earlier: what was built before, by key.
        records: the records of these.
        label_form: of the labels of records that are rendered.
    """

    def __init__(
        self,
        source: Source,
        split: str,
        view_plan: ViewPlan,
        shared: str,
        earlier: Mapping[str, Earlier],
        records: EarlierRecords | None,
        label_form: LabelForm = "small",
    ) -> None:
        self._source, self._split, self._plan = source, split, view_plan
        self.shared, self._earlier, self._records = shared, earlier, records
        self._label_form = label_form
        self.origins: dict[str, Origin] = {}

    def __call__(self, key: str) -> Outcome:
        earlier = self._earlier.get(key)
        files = files_of(self._source, self._split, key, earlier.origin if earlier else None)
        if earlier and (kept := self._kept(key, earlier, files)):
            self.origins[key] = replace(earlier.origin, files=files)
            return kept
        outcome = rendered(self._source, self._split, self._plan, key)
        shown = outcome.shown if isinstance(outcome, RenderedExample) else ""
        self.origins[key] = Origin(key, files, shown)
        if self._label_form == "quick" and isinstance(outcome, RenderedExample):
            outcome.labels = quick_labels(outcome.labels)
        if earlier and self._records and isinstance(outcome, RenderedExample):
            outcome.known = self._records.arrays(key)
            outcome.is_encoded = bool(outcome.known) and shown == earlier.origin.shown
        return outcome

    def _kept(self, key: str, earlier: Earlier, files: tuple[SourceFile, ...] | None) -> Kept | None:
        if self._records is None or not is_untouched(earlier, self.shared, files):
            return None
        record = self._records.packed(key)
        left_out = tuple(reject.reason for reject in earlier.rejects)
        return Kept(record, left_out, earlier.origin.cut_sentences) if record else None


def is_untouched(earlier: Earlier, shared: str, files: tuple[SourceFile, ...] | None) -> bool:
    """Whether nothing changed that a record is made of, as far as the source can say."""
    before = earlier.origin.files
    if earlier.shared != shared or (files is None) != (before is None):
        return False
    if files is None or before is None:  # what all depend on is all that is known
        return True
    return len(files) == len(before) and all(now.is_same(then) for now, then in zip(files, before, strict=True))


def files_of(source: Source, split: str, key: str, before: Origin | None) -> tuple[SourceFile, ...] | None:
    """The files of one record as they are now; None if the source cannot say. One from outside need not have the
    method."""
    told = getattr(source, "files_of", None)
    named: Mapping[str, Path | Inside] | None = told(split, key) if told else None
    if named is None:
        return None
    known = {file.name: file for file in (before.files or ())} if before else {}
    return tuple(_looked(name, file, known.get(name)) for name, file in named.items())


def _looked(name: str, file: Path | Inside, before: SourceFile | None) -> SourceFile:
    if isinstance(file, Path):
        return look(name, file, before)
    try:
        return look_inside(name, file.read_bytes, file.state, before)
    except (OSError, Reject):  # its record is rejected with the reason
        return SourceFile(name, 0, "")


def is_retried(earlier: Earlier, outcome: Outcome) -> bool:
    """Whether an example that was rejected can be used now, as far as that is seen before it is encoded."""
    if isinstance(outcome, Rejected):
        return False
    return not isinstance(outcome, RenderedExample) or outcome.shown != earlier.origin.shown
