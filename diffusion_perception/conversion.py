"""Checkpoints in and out: what becomes of a file, a run or a model folder.

Owns the settings of a conversion and how a run of ours becomes a blueprint. Reading other projects' files and the
mapping of their keys are `vpd.exchange.importing`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from diffusion_perception import places, plugins
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vpd.exchange.pretrained import Blueprint


@dataclass(frozen=True)
class ConvertJob:
    """Settings of a conversion."""

    source_path: str = field(metadata={"key": "in"})  # checkpoint file, run folder, or model folder of ours
    out: str  # folder to write; must not hold anything yet
    to: Literal["auto", "model", "diffusers"] = (
        "auto"  # model: a folder of ours; diffusers: its folder layout; auto: by what the checkpoint holds
    )
    checkpoint: str = "best"  # of a run: best, last or a step number
    base: str = ""  # to=diffusers: where parts of the UNet come from that the checkpoint lacks (output head, time MLP)
    tokenizer: str = ""  # folder or hub id whose tokenizer goes beside a text encoder; original files have none
    source: Annotated[Mapping[str, Any], plugins.SOURCES] = field(default_factory=dict)  # has the names of the classes
    task: Mapping[str, Any] = field(default_factory=dict)  # task options the weights cannot tell: {max_depth_m: 80}
    heads: int = 0  # of the UNet's attention layers, which the weights cannot tell; 0 = 8, as every Stable Diffusion 1
    size: int = 0  # side of the views the model is made for, in pixels; 0 = as published


def convert(job: ConvertJob, allow_namespace: bool = False) -> list[str]:
    """Convert; returns what to tell a person.

    Raises:
        ConfigError: nothing convertible there, an occupied output folder, or settings that do not fit.
        SchemaMismatch: the checkpoint's keys are not those of its layout. Nothing is written then.
    """
    from vpd.exchange.pretrained import is_pretrained

    out, source = Path(job.out), Path(job.source_path)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out}: there is something already; give a new folder.")
    if source.is_file():
        lines = _from_file(job, out, allow_namespace)
    elif is_pretrained(source):
        lines = _from_model(job, out)
    elif any(source.glob("step-*/checkpoint.json")):
        lines = _from_run(job, out)
    else:
        known = "a diffusers folder: it needs no conversion, name it as backbone.model" if _is_diffusers(source) else ""
        raise ConfigError(
            f"in={source}: {known or 'nothing convertible there'}. Expected a checkpoint file (.ckpt, .pth, "
            ".safetensors), the folder of a run, or a folder written by this command."
        )
    return [*lines, f"wrote {out}"]


def _from_file(job: ConvertJob, out: Path, allow_namespace: bool) -> list[str]:
    from diffusion_perception.blueprints import assembled
    from vpd.exchange.importing.folders import write_diffusers, write_model
    from vpd.exchange.importing.official import import_checkpoint

    imported = import_checkpoint(
        job.source_path, assembled, allow_namespace=allow_namespace, changes=_changes(job), heads=job.heads
    )
    lines = imported.report.lines()
    if job.to == "model" or (job.to == "auto" and imported.blueprint is not None):
        blueprint = imported.blueprint
        if blueprint is not None and job.source:
            imported.blueprint = replace(blueprint, class_names=_class_names(job, blueprint))
        write_model(out, imported)
        return lines
    parts = write_diffusers(out, imported, job.base)
    return [*lines, f"parts: {', '.join(parts)}", *_tokenizer(job, out, parts)]


def _from_model(job: ConvertJob, out: Path) -> list[str]:
    from vpd.exchange.pretrained import UNET_REST, load_weights, read_blueprint

    if job.to != "diffusers":
        raise ConfigError(f"in={job.source_path} is a model folder already; to=diffusers exports its UNet.")
    base = job.base or (job.source_path if Path(job.source_path, UNET_REST).is_file() else "")
    return _export_unet(job, out, load_weights(job.source_path), read_blueprint(job.source_path).unet, base)


def _from_run(job: ConvertJob, out: Path) -> list[str]:
    from diffusion_perception.blueprints import assembled
    from diffusion_perception.trained import saved_run
    from vpd.exchange.importing.folders import unet_rest
    from vpd.exchange.importing.official import LEFT_OUT
    from vpd.exchange.pretrained import save_pretrained, with_weights
    from vpd.exchange.report import Report, check_fit
    from vpd.training.checkpoints.checkpoint import CheckpointStore
    from vpd.training.resume import final_weights

    checkpoint, trained, state = saved_run(job.source_path, job.checkpoint)
    weights, averaged = final_weights(CheckpointStore(job.source_path), checkpoint, trained.model)
    of_these = ["the moving average of the trained weights (optim.ema_decay)"] if averaged else []
    blueprint = blueprint_of_run(trained, state, weights)
    base = job.base or str(trained.backbone.get("model", ""))
    if job.to == "diffusers":
        return [*of_these, *_export_unet(job, out, weights, blueprint.unet, base)]
    model = assembled(blueprint)
    report = Report(checkpoint.path, "of the run's configuration", mapped={name: name for name in weights})
    check_fit(report, weights, {name: value.shape for name, value in model.state_dict().items()})
    save_pretrained(out, with_weights(model, weights), blueprint, beyond(unet_rest(base, tuple(LEFT_OUT)), weights))
    return [*of_these, *report.lines()]


def blueprint_of_run(trained: Any, state: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Blueprint:
    """The blueprint of a run's checkpoint.

    Args:
        trained: the run's `TrainJob`.
        state: what was saved beside the weights.
        weights: the network's.
    """
    from diffusion_perception.assembly.companions import backbone_facts, encoder_setting, vision_setting
    from diffusion_perception.assembly.network import context_tokens, said_width
    from diffusion_perception.assembly.parts import build_task
    from shards.contract.schema import Schema
    from vpd.exchange.pretrained import Blueprint

    read_config = plugins.function(plugins.BACKBONES, trained.backbone, "backbone", "read_config")
    config = read_config(str(trained.backbone.get("model", "")), trained.backbone.get("revision"))
    facts = backbone_facts(trained.backbone)
    task, table = build_task(trained), weights.get("class_embeddings")
    schema = Schema.from_json(state["schema"])
    tokens, sides = context_tokens(trained, task, schema), schema.field("latent").shape[-2:]
    encoders = {"image": encoder_setting(trained, "image", facts.companions)}
    if task.uses_text:
        encoders["text"] = encoder_setting(trained, "text", facts.companions, length=tokens)
    vision: dict[str, Any] = {}
    if trained.model.vision.classes:
        encoders["vision"] = vision_setting(trained)
        vision = {**asdict(trained.model.vision), "said": said_width(trained, schema)}
    options = {key: value for key, value in trained.backbone.items() if key not in ("model", "revision")}
    return Blueprint(
        task=dict(trained.task),
        backbone=options,
        unet=config,
        tokens=tokens,
        head=dict(trained.model.head),
        class_table=list(table.shape) if table is not None else None,
        latent_scale=trained.model.latent_scale,
        latent_shift=trained.model.latent_shift,
        size_px=facts.latents.size_px(int(sides[0]), int(sides[1])),
        encoders=encoders,
        class_names=list(state["class_names"]),
        origin={"run": trained.run.name, "step": state["step"], "train_set": state["train_set"]},
        prompts=asdict(trained.model.prompts) if trained.model.prompts.count else {},
        predict_views=dict(trained.predict_views),
        precision=trained.loop.precision,
        vision=vision,
    )


def beyond(rest: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the network itself does not hold of the UNet's optional parts."""
    from vpd.exchange.importing.official import UNET

    return {name: value for name, value in rest.items() if UNET + name not in weights}


def _export_unet(
    job: ConvertJob, out: Path, weights: Mapping[str, torch.Tensor], unet: Mapping[str, Any], base: str
) -> list[str]:
    from vpd.exchange.importing.folders import unet_weights, write_unet

    found = unet_weights(weights)
    write_unet(out, found, unet, base, job.source_path)
    rest = f"the rest from {base}" if base else "complete"
    return [f"{job.source_path}: {len(found)} weights of the UNet; {rest}"]


def _changes(job: ConvertJob) -> dict[str, Any]:
    changes: dict[str, Any] = {"task": dict(job.task)} if job.task else {}
    return changes | ({"size_px": [job.size, job.size]} if job.size else {})


def _class_names(job: ConvertJob, blueprint: Blueprint) -> list[str]:
    """Names of the rows of the class table; mmsegmentation's has one row more, the mean of all."""
    from diffusion_perception.prompt_tables import source_names

    names, rows = source_names(job.source), (blueprint.class_table or [0])[0]
    if rows == len(names) + 1:
        names.append("mean of all classes")
    if rows != len(names):
        raise ConfigError(f"source {job.source.get('name')} has {len(names)} classes, the checkpoint's table {rows}.")
    return names


def _tokenizer(job: ConvertJob, out: Path, parts: list[str]) -> list[str]:
    if not job.tokenizer:
        note = "note: original files hold no tokenizer; tokenizer=MODEL adds that model's"
        return [note] if "text_encoder" in parts else []
    from pipeline.encoders.clip_text.tokenizer import save_tokenizer

    save_tokenizer(places.resolve_model(job.tokenizer), out / "tokenizer")
    return [f"tokenizer: from {job.tokenizer}"]


def _is_diffusers(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("model_index.json", "unet/config.json"))
