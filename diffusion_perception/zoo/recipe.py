"""How a published model was trained, in sentences, out of the settings in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion_perception.zoo.record import Record
    from vpd.exchange.pretrained import Blueprint

REGIMES = {
    "full": "The whole UNet learned, with head and adapters.",
    "frozen": "The UNet stayed frozen; what is around it learned.",
    "head": "The head alone learned.",
    "lora": "The UNet learned by low-rank additions of rank {rank}, which are merged into its weights here.",
    "blocks": "Of the UNet these blocks learned: {blocks}.",
}


def method_of(blueprint: Blueprint) -> str:
    """VPD, Meta Prompts or ECoDepth's condition, with what the UNet is told."""
    if blueprint.vision:
        rows = blueprint.vision.get("classes")
        told = f"a token mixed of {rows} learned rows by what a frozen vision encoder says of the picture"
        return f"ECoDepth's condition, one pass of Stable Diffusion's UNet, which is told {told}"
    if blueprint.prompts:
        passes = int(blueprint.prompts.get("passes", 1))
        times = "one pass" if passes == 1 else f"{passes} passes"
        return f"Meta Prompts, {blueprint.prompts.get('count')} learned prompts and {times} of Stable Diffusion's UNet"
    if blueprint.class_table:
        told = f"embeddings of {blueprint.class_table[0]} classes"
    else:
        told = f"{blueprint.tokens} tokens of a sentence"
    return f"VPD, one pass of Stable Diffusion's UNet, which is told {told}"


def recipe_in_words(blueprint: Blueprint, record: Record) -> str:
    """A paragraph; of a model that was not trained here, where it came from."""
    if not record.settings:
        came = {name: value for name, value in record.origin.items() if name != "notes"}
        shown = ", ".join(f"{name} {value}" for name, value in came.items())
        return f"Not trained by this project: converted ({shown or 'from where, is not recorded'})."
    return " ".join(_sentences(blueprint, record, record.settings))


def _sentences(blueprint: Blueprint, record: Record, said: Mapping[str, Any]) -> Iterator[str]:
    start = f"a model folder ({said['model.init']})" if said.get("model.init") else record.base or "a model not named"
    fingerprint = f" (fingerprint `{record.fingerprint[:12]}`)" if record.fingerprint else ""
    yield (
        f"Run `{record.run}`, {record.step:,} steps of {said.get('data.batch_size')} samples on the set "
        f"`{record.train_set}`{fingerprint}, from {start}."
    )
    regime = REGIMES.get(str(said.get("model.train")), "")
    blocks = ", ".join(said.get("model.blocks") or ())
    yield regime.format(rank=said.get("model.lora.rank"), blocks=blocks)
    yield (
        f"AdamW at {said.get('optim.lr'):g} by the schedule `{said.get('optim.schedule.name')}`, weight decay "
        f"{said.get('optim.weight_decay'):g}, parameter groups `{said.get('optim.preset')}`, seed "
        f"{said.get('loop.seed')}, precision `{said.get('loop.precision')}`."
    )
    if record.averaged:
        yield f"The weights are the moving average of those that learned (decay {said.get('optim.ema_decay'):g})."
    if blueprint.latent_shift:
        yield f"{blueprint.latent_shift:g} is taken off latents."
    if blueprint.latent_scale != 1:
        yield f"Latents are multiplied by {blueprint.latent_scale:g}."
    yield "Every setting in force is in `training.json`."
