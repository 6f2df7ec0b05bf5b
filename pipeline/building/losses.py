"""What a set lacks of its source, counted over its finished shards: pictures and entries left out, sentences cut.

Owns the limit on what may be left out, and the words about it. The numbers of a shard are the `ledger`'s; the full list
of what was left out, with reasons, is the set's rejects.jsonl.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.building.ledger import FinishedShard, Rejected
from shards.errors import SourceError

_SHOWN = 5


def check_losses(finished: Sequence[FinishedShard], examples: int, name: str, limit: float) -> None:
    """SourceError if more than `limit` of the examples, or of the entries inside those that were kept, were left out,
    or if no example is left."""
    kept_items = sum(part.shard.items for part in finished if part.shard is not None)
    try:
        refuse_losses(_pictures(finished), _entries(finished), examples, kept_items, name, limit)
    except SourceError as error:
        raise SourceError(f"{error}; built shards are kept") from None


def refuse_losses(
    pictures: Sequence[Rejected], entries: Sequence[Rejected], examples: int, kept_items: int, name: str, limit: float
) -> None:
    """The same of what was left out, wherever it was counted.

    Args:
        pictures: that were rejected, of all `examples`.
        entries: that were left out of other pictures, which keep `kept_items`.
    """
    if len(pictures) > limit * examples or len(pictures) == examples:
        _refuse(f"{name}: {len(pictures)} of {examples} examples were rejected", pictures, limit)
    if len(entries) > limit * (kept_items + len(entries)):
        _refuse(f"{name}: {len(entries)} of {kept_items + len(entries)} entries were left out", entries, limit)


def losses_in_words(finished: Sequence[FinishedShard], sentences: int) -> list[str]:
    """A line for each kind of loss that occurred; `sentences` is how many the set holds."""
    lines = []
    if pictures := _pictures(finished):
        lines.append(f"{len(pictures)} pictures were left out, such as {_shown(pictures[:1])}")
    if entries := _entries(finished):
        touched = len({entry.key for entry in entries})
        lines.append(f"{len(entries)} entries of {touched} kept pictures were left out, such as {_shown(entries[:1])}")
    if cut := sum(part.cut_sentences for part in finished):
        lines.append(f"{cut} of {sentences} sentences were cut at the text encoder's token limit (text.length)")
    return lines


def _pictures(finished: Sequence[FinishedShard]) -> list[Rejected]:
    return [reject for part in finished for reject in part.rejects if reject.whole]


def _entries(finished: Sequence[FinishedShard]) -> list[Rejected]:
    return [reject for part in finished for reject in part.rejects if not reject.whole]


def _refuse(found: str, rejects: Sequence[Rejected], limit: float) -> None:
    shown = "".join(f"\n  {_shown([reject])}" for reject in rejects[:_SHOWN])
    raise SourceError(
        f"{found}, max_rejects allows {limit:.2%}:{shown}\n"
        "Repair the source and rebuild, or raise max_rejects if these are known to be bad"
    )


def _shown(rejects: Sequence[Rejected]) -> str:
    return "; ".join(f"{reject.key}: {reject.reason}" for reject in rejects)
