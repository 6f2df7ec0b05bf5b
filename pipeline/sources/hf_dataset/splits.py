"""The splits of a set made from a dataset: which rows of which of the dataset's splits belong to each.

Owns the two ways (a split of the dataset each, or seeded shares of one), opened once, and what all sources of rows say
of a split: identity, card, and how much of a stream is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.reopened import Reopened
from pipeline.sources.hf_dataset.place import Place
from pipeline.sources.hf_dataset.rows import CONTENT, RowContent, RowFile, Rows, key_of_row
from pipeline.sources.pairs.matching import Folders, Listing, Pair
from pipeline.sources.pairs.splits import Share, splits_of
from shards.errors import ConfigError, Reject, SourceError

LOOKED_AT = 32  # rows of a stream that are looked at before it is encoded, and of any that tell a suffix


class RowSplits(Reopened):
    """Thread-safe; pickles as its options and opens the dataset again.

    Args:
        splits: split of the set -> split of the dataset.
        shares: split of the set -> its part of the rows of the one dataset split that `splits` names.
        columns: role -> name of a column.
    """

    def __init__(
        self,
        place: Place,
        splits: Mapping[str, str],
        shares: Mapping[str, float],
        seed: int,
        columns: Mapping[str, str],
    ) -> None:
        self.place, self.columns = place, dict(columns)
        if shares and len(splits) > 1:
            raise ConfigError(
                f"source hf_dataset: shares divide one split of the dataset, and splits names {len(splits)}: "
                f"{', '.join(splits)}; give shares, and splits: {{all: train}}"
            )
        if place.has_one_split and len(splits) > 1:
            raise ConfigError(
                f"source hf_dataset: {place.dataset!r} has no splits of its own, and splits names {len(splits)}: "
                f"{', '.join(splits)} would each be all of its rows. Give shares={{train: 0.9, val: 0.1}}, and "
                "splits={all: train}; or the folder, where files are named after their splits"
            )
        self.names = tuple(shares or splits)
        self._splits = dict(splits) if not shares else dict.fromkeys(shares, next(iter(splits.values())))
        self._share = splits_of("hf_dataset", Path(), (), {}, shares, seed, ()).chosen if shares else {}
        self._lock = Lock()
        self._rows: dict[str, Rows] = {}

    def rows(self, split: str) -> Rows:
        """SourceError: unknown split, or it cannot be opened."""
        if split not in self._splits:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.names)}")
        with self._lock:
            if split not in self._rows:
                self._rows[split] = Rows(self.place, self._splits[split], self.columns)
            return self._rows[split]

    def indices(self, split: str) -> list[int]:
        """Rows of the split, ascending. SourceError: none."""
        count = len(self.rows(split))
        if not count:
            raise SourceError(f"dataset {self.place.dataset!r}, split {self._splits[split]!r}: has no row")
        share = self._share.get(split)
        if not isinstance(share, Share):
            return list(range(count))
        return [int(key) for key in share.stems([key_of_row(index) for index in range(count)], ("", ()), split)]

    @property
    def file_entries(self) -> tuple[str, ...]:
        """Entries of the identity that follow from the rows' contents (`files_of`)."""
        return () if self.place.streaming else CONTENT

    def files_of(self, split: str, key: str) -> dict[str, RowContent] | None:
        """The row; None of a stream, in which every one would have to be passed."""
        return None if self.place.streaming else {"row": RowContent(self.rows(split), int(key))}

    def listing(self, split: str, partner: str) -> Listing:
        """Every row as a pair of a picture and its partner, under the row's number."""
        rows = self.rows(split)
        pairs = {}
        for index in self.indices(split):
            key = key_of_row(index)
            pairs[key] = Pair(key, RowFile(rows, index, "image"), RowFile(rows, index, partner))
        return Listing(pairs, "")

    def folders(self, kind: str, suffix: str) -> dict[str, Folders]:
        """What stands for folders in messages."""
        places = {role: Path(f"{self.place.shown}:{self.columns[role]}") for role in ("image", kind)}
        return {split: Folders(places["image"], places[kind], label_suffix=suffix, kind=kind) for split in self.names}

    def suffix_of(self, role: str) -> str:
        """What the first of its values that is there is encoded as, with a dot; empty where none is."""
        split = self.names[0]
        for index in self.indices(split)[:LOOKED_AT]:
            try:
                return RowFile(self.rows(split), index, role).suffix
            except Reject:
                continue
        return ""

    def looked_at(self, listing: Listing) -> Listing:
        """The rows that are looked at before anything is encoded: all may be; of a stream, the first only."""
        if not self.place.streaming:
            return listing
        return Listing(dict(list(listing.pairs.items())[:LOOKED_AT]), listing.sha256)

    def notices(self, split: str) -> list[str]:
        if not self.place.streaming:
            return []
        return [
            f"{split}: a stream, which does not say how many rows it has: limit takes {self.place.limit}; its first "
            f"{min(LOOKED_AT, self.place.limit)} rows are looked at before it is encoded"
        ]

    def identity(self, split: str) -> dict[str, Any]:
        share = self._share.get(split)
        part = {"share": [share.start, share.end, share.seed]} if isinstance(share, Share) else {}
        return {"name": "hf_dataset", "split": split, **self.rows(split).identity(), **part}

    def card(self, title: str) -> dict[str, Any]:
        return {
            "title": title or self.place.shown,
            "origin": f"The dataset {self.place.shown} of the Hugging Face `datasets` library, columns "
            f"{', '.join(self.columns.values())}.",
            "licence": "not stated: the dataset's card knows",
            "terms": "those of the dataset it was made from",
            "url": "" if self.place.is_local else f"https://huggingface.co/datasets/{self.place.dataset}",
            "splits": {split: {} for split in self.names},
        }
