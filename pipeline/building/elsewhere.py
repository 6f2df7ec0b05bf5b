"""Records that others load and render, on machines without an accelerator: what they hand over, and its order.

Owns the form in which a rendered record travels and the check that it is the one asked for. Who the others are and how
they are reached is the caller's (`jobs.render_crew`), rendering `stages`', what a build does with it `shard`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from pipeline.building.ledger import Rejected
from pipeline.building.recipe import LabelForm
from pipeline.building.stages import Outcome, RenderedExample
from pipeline.building.taking_over import FirstStage
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.origins import Origin
from shards.errors import ContractError


@dataclass(frozen=True)
class Rendered:
    """One record on its way to an encoder, in 8 bits, and what it was made from."""

    outcome: RenderedExample | Rejected
    origin: Origin


Elsewhere = Callable[[Sequence[str], int], Generator[Rendered, None, None]]
"""Of keys, each one's record, in their order; at most so many of them are rendered, or being rendered, before they are
asked for. Closing the generator ends it."""


def render_for_others(
    source: Source, split: str, view_plan: ViewPlan, labels: LabelForm, keys: Sequence[str]
) -> list[Rendered]:
    """What a build's own first stage would make of the keys, where nothing was built before."""
    stage = FirstStage(source, split, view_plan, "", {}, None, labels)
    made: list[Rendered] = []
    for key in keys:
        outcome = stage(key)
        assert isinstance(outcome, RenderedExample | Rejected)  # nothing is kept where there is nothing earlier
        made.append(Rendered(outcome, stage.origins[key]))
    return made


def received(
    elsewhere: Elsewhere, keys: Sequence[str], ahead: int, origins: dict[str, Origin]
) -> Generator[Outcome, None, None]:
    """The same values that the first stage gives, made elsewhere; `origins` fills up as they come.

    Raises:
        ContractError: another record than the next one, or too few.
    """
    with closing(elsewhere(keys, ahead)) as coming:
        for key in keys:
            one = next(coming, None)
            if one is None or one.outcome.key != key or one.origin.key != key:
                found = "nothing" if one is None else repr(one.outcome.key)
                raise ContractError(
                    f"record {key!r} was to come from a render worker, and {found} came; this shard is not written. "
                    "Say so to who wrote it: the order of records is part of a set."
                )
            origins[key] = one.origin
            yield one.outcome
