"""A build of shard sets before any weight is read: every plug-in bound, counts and bytes of every split.

Owns the order of the checks. Source and view plans are made, since they cost little; encoders are only described
(`describe`). Arithmetic of sizes is `pipeline.building.plan`'s, building `diffusion_perception.building.builder`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diffusion_perception import plugins
from diffusion_perception.building.builder import BuildJob, prompted_names, set_folder
from pipeline.building import ledger
from pipeline.building.changes import situation
from pipeline.building.lease import holder_of
from pipeline.building.plan import Estimate, PlannedShard, estimate, plan_shards
from pipeline.encoders import ImageFacts, TextFacts, VisionFacts
from pipeline.example import Source
from pipeline.prompts.class_table import templates_of
from pipeline.views import ViewPlan, view_runs
from shards.errors import ConfigError, Reject, did_you_mean


@dataclass(frozen=True)
class SplitForecast:
    """One set that would be built: its shards, its views, and what they come to."""

    name: str
    split: str
    planned: list[PlannedShard]
    plan: ViewPlan
    estimate: Estimate
    notices: tuple[str, ...] = ()  # what the source found in its files
    begun: tuple[str, ...] = ()  # what its folder holds already, what would be built again, and why

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"{self.name}: {len(self.planned)} shards"
        yield from (f"  {line}" for line in self.estimate.lines())
        yield from (f"  found: {line}" for line in self.notices)
        yield from (f"  {line}" for line in self.begun)
        yield "  pictures that a build will reject are counted with the others here: `check` opens every file"


def forecast_build(
    job: BuildJob, before_reading: Callable[[], None] | None = None
) -> tuple[Source, dict[str, SplitForecast]]:
    """The source, and what every split would come to.

    Args:
        job: with its paths resolved (`builder.placed`).
        before_reading: called when everything was found to be right that is known before the source reads its files,
            which may take long.

    Raises:
        ContractError: what the build would be refused for, as far as it can be known without weights.
    """
    image = plugins.describe_plugin(plugins.ENCODERS, job.image, "image")
    text = plugins.describe_plugin(plugins.ENCODERS, job.text, "text") if job.text else None
    vision = plugins.describe_plugin(plugins.ENCODERS, job.vision, "vision") if job.vision else None
    source, views = source_and_views(job)
    if before_reading:
        before_reading()
    return source, {split: _split(job, source, split, views[split], (image, vision), text) for split in job.splits}


def source_and_views(job: BuildJob) -> tuple[Source, dict[str, ViewPlan]]:
    """The source and the view plan of every split: what a build is made of besides its encoders.

    Raises:
        ContractError: they cannot be made, or do not fit each other.
    """
    _check_names(job)
    views = {split: _view_plan(job, split) for split in job.splits}
    if job.prompts is not None:
        templates_of(job.prompts)
    source = plugins.build_plugin(plugins.SOURCES, job.source, "source")
    prompted_names(job, source)
    if source.item_axis == "sentence" and job.text is None:
        raise ConfigError(
            f"source {job.source['name']} has sentences, and no 'text' encoder is set for them. Add one, such as "
            f"text={{name: clip_text, model: {job.image.get('model', 'MODEL')}}}."
        )
    several = [f"{split}: {plan.views_per_image}" for split, plan in views.items() if plan.views_per_image > 1]
    if source.item_axis == "sentence" and several:
        raise ConfigError(
            f"source {job.source['name']} has sentences, and views cut several of a picture ({', '.join(several)}): a "
            "sample would be a sentence with the first of them, and nobody would ever be shown the others. Choose "
            "views with one of each picture, such as views=exact; or build more of them as sets of their own, and "
            "mix these in training (data.mix)."
        )
    return source, views


def _split(
    job: BuildJob,
    source: Source,
    split: str,
    plan: ViewPlan,
    shown: tuple[ImageFacts, VisionFacts | None],
    text: TextFacts | None,
) -> SplitForecast:
    name = f"{job.name}-{split}"
    planned = plan_shards(source.keys(split), job.settings.records_per_shard, name)
    _try_views(source, split, plan, planned[0].keys[0])
    notices = notices_of(source, split)  # first: what cannot be meant explains itself, where a fingerprint does not
    begun = _check_folder(job, source, split, plan, planned)
    return SplitForecast(
        name,
        split,
        planned,
        plan,
        estimate(
            source.counts(split),
            view_fields=[field for facts in shown if facts for field in facts.fields(plan.size_px)],
            view_size_px=plan.size_px,
            views_per_image=plan.views_per_image,
            text_length=text.length if text else 0,
            text_width=text.width if text else 0,
            text=job.settings.text,
            records_per_shard=job.settings.records_per_shard,
            assumed=[facts.assumed for facts in (*shown, text) if facts and facts.assumed],
        ),
        notices,
        begun,
    )


def notices_of(source: Source, split: str) -> tuple[str, ...]:
    """What the source says of a split. One from outside need not derive from `Source`, and then says nothing."""
    notices = getattr(source, "notices", None)
    return tuple(notices(split)) if notices else ()


def _check_names(job: BuildJob) -> None:
    if not job.splits or len(set(job.splits)) < len(job.splits):
        raise ConfigError(f"splits is {list(job.splits)}; expected one or more different splits of the source.")
    set_folder(job, job.splits[0])
    if unknown := [split for split in job.views_of if split not in job.splits]:
        raise ConfigError(
            f"views_of names the split {unknown[0]!r}, which is not built; splits: {list(job.splits)}."
            f"{did_you_mean(unknown[0], job.splits)}"
        )


def _view_plan(job: BuildJob, split: str) -> ViewPlan:
    where = f"views_of.{split}" if split in job.views_of else "views"
    return plugins.build_views(job.view_spec(split), where)


def _try_views(source: Source, split: str, plan: ViewPlan, key: str) -> None:
    """Plan the views of one example. ConfigError if the plan does not suit the source."""
    try:
        example = source.load(split, key)
    except Reject:
        return  # the build goes on without it, too
    view_runs(plan, key, (example.height_px, example.width_px), example.boxes_px, example.labels)


def _check_folder(
    job: BuildJob, source: Source, split: str, plan: ViewPlan, planned: list[PlannedShard]
) -> tuple[str, ...]:
    """What is said of a set, or one begun, that is in the folder already; nothing of a new one. FingerprintMismatch if
    it surely has another recipe."""
    folder = set_folder(job, split)
    recipe = ledger.recipe_in(folder)
    if recipe is None:
        return ()
    known = {  # of a recipe, without its encoders
        "source": source.identity(split),
        "split": split,
        "views": plan.identity(),
        "records_per_shard": job.settings.records_per_shard,
    }
    there = {name: recipe.get(name) for name in known}
    ledger.check_recipe(known, there, folder, ledger.knows_origins(folder))
    begun = situation(folder, planned, source, split, plan)
    held = holder_of(folder)
    return (*([f"held by {held}"] if held else []), *begun.lines())
