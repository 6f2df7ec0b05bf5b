"""What `check` does: look at every picture and label of a build's splits, before any encoder is read.

Owns the order, the threads, what is compared across splits, and the words that are printed. What is counted and drawn
is `pipeline.inspection`'s; how a configuration becomes a source and view plans, `forecast`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from diffusion_perception import places, plugins, settings
from diffusion_perception.building.builder import BuildJob
from diffusion_perception.building.forecast import notices_of, source_and_views
from pipeline.building.ledger import Rejected
from pipeline.building.prefetch import map_ahead
from pipeline.example import Source
from pipeline.inspection.findings import Findings
from pipeline.inspection.look import Fatal, Look, look
from pipeline.inspection.page import page
from pipeline.inspection.tally import DRAWN, CutCounter, Tally
from pipeline.views import ViewPlan
from shards.errors import ConfigError, ContractError
from shards.progress import Progress
from shards.storage.atomic import write_atomic

Say = Callable[[str], None]


def inspect_build(job: BuildJob, say: Say) -> list[Findings]:
    """Findings of every split of a build's configuration; its encoders and its `out` need not exist.

    Pictures are read by `settings.decode_threads` threads.

    Raises:
        ContractError: settings that name no source, no views, or that contradict each other.
    """
    located = {"source": places.located(job.source, "source")}
    if job.text:
        located["text"] = places.located(job.text, "text")
    job = settings.replaced(job, located)
    source, views = source_and_views(job)
    counter = cut_counter(job) if source.item_axis == "sentence" else None
    found = [_split(job, source, split, views[split], counter, say) for split in job.splits]
    _compare(found)
    return found


def write_page(found: Sequence[Findings], title: str, path: Path) -> None:
    """The findings as one HTML file."""
    try:
        write_atomic(path, page(title, found).encode())
    except OSError as error:
        raise ConfigError(f"page={path}: cannot be written ({error}). Name a file in a folder that exists.") from error


def in_words(found: Sequence[Findings]) -> Iterator[str]:
    """A line each."""
    for part in found:
        yield from (f"{part.split}: {line}" for line in part.lines())
        yield from (f"{part.split}: the source says: {line}" for line in part.notices)
        yield from (f"{part.split}: warning: {line}" for line in part.warnings)
        yield from (f"{part.split}: REFUSED: {line}" for line in part.refusals)


def cut_counter(job: BuildJob) -> CutCounter | None:
    """Counts sentences with more tokens than the build stores; None where the tokenizer is not on this machine."""
    spec = job.text
    if not spec or not hasattr(plugins.find(plugins.ENCODERS, spec, "text"), "cut_counter"):
        return None
    options = plugins.bind_plugin(plugins.ENCODERS, spec, "text")[1]
    return plugins.function(plugins.ENCODERS, spec, "text", "cut_counter")(**options)


def _split(job: BuildJob, source: Source, split: str, plan: ViewPlan, counter: CutCounter | None, say: Say) -> Findings:
    found = Findings(Tally(split, counter), tuple(getattr(source, "class_names", ())))
    if not _has_class_labels(source):
        found.names = ()
    try:
        keys = source.keys(split)
    except ContractError as error:
        found.refusals.append(str(error))
        return found
    try:
        found.notices += notices_of(source, split)
    except ContractError as error:  # a build ends here; what its pictures hold is told nevertheless
        found.refusals.append(str(error))
    progress = Progress(len(keys), "pictures")
    for looked in _looks(job, source, split, plan, keys):
        found.tally.add(looked)
        if line := progress.due(found.tally.seen):
            say(f"{split}: {line}")
    found.judge(job.settings.max_rejects)
    say(f"{split}: {progress.text(found.tally.seen)}, {job.settings.decoders} threads (settings.decode_threads)")
    return found


def _looks(
    job: BuildJob, source: Source, split: str, plan: ViewPlan, keys: list[str]
) -> Iterator[Look | Rejected | Fatal]:
    """In order. Twice as many as are wanted are drawn, since some may be rejected."""
    drawn, rest = keys[: 2 * DRAWN], keys[2 * DRAWN :]
    ahead = job.settings.decode_ahead
    for part, drawing in ((drawn, True), (rest, False)):
        of_key = partial(look, source, split, plan, drawn=drawing)
        yield from map_ahead(of_key, part, job.settings.decoders, ahead)


def _has_class_labels(source: Source) -> bool:
    """Whether the class names are those of label values, and not of pictures (the scenes of depth)."""
    return any(field.name == "label" for field in source.label_fields)


def _compare(found: Sequence[Findings]) -> None:
    """Warnings about a split because of the others: the same picture, or a class that the first lacks."""
    first_with: dict[str, str] = {}
    for part in found:
        doubles = [(key, first_with[digest]) for digest, key in part.tally.first_with.items() if digest in first_with]
        if doubles:
            key, other = doubles[0]
            part.warnings.append(f"{len(doubles)} pictures are in another split too. The first: {key}, as {other}")
        for digest, key in part.tally.first_with.items():
            first_with.setdefault(digest, f"{key} of {part.split}")
    for part in found[1:]:
        new = (part.tally.class_pictures > 0) & (found[0].tally.class_pictures == 0)
        if names := [name for name, is_new in zip(part.names, new, strict=False) if is_new]:
            part.warnings.append(f"classes that {found[0].split} does not show: {', '.join(names)}")
