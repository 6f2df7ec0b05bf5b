"""Tiny shard sets of three tasks, written without encoders, and training configurations for them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from pipeline.views import exact
from shards.contract.schema import Field, Record, Schema
from shards.contract.tables import write_table
from shards.writing.writer import seal_set, write_shard

ROOT = Path(__file__).resolve().parent.parent
WIDTH, TOKENS, CLASSES = 32, 7, 5  # of a text state, of a sentence, of a class table
PICTURE_PX = (40, 48)
UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [32, 32, 64, 64],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
LABELS = {
    "refer": (),
    "depth": (Field("depth", "npy", "float32", ("H", "W"), unit="metres, 0 = no measurement"),),
    "seg": (Field("label", "png", unit="class"),),
}
TASKS: dict[str, dict[str, Any]] = {
    "refer": {"name": "refer"},
    "depth": {"name": "depth", "crop": "none"},
    "seg": {"name": "seg", "classes": CLASSES},
}
HEADS: dict[str, dict[str, Any]] = {
    "refer": {"hidden": 16},
    "depth": {"width": 32, "hidden": 16},
    "seg": {"channels": 16},
}


def write_model(folder: Path, **config: Any) -> Path:
    """A model folder that says how large its parts are, the UNet as `config` says, and holds no weights."""
    parts = {
        "unet": UNET | config,
        "vae": {"latent_channels": 4, "block_out_channels": [8, 8, 8, 8]},
        "text_encoder": {"hidden_size": WIDTH, "max_position_embeddings": 77, "model_type": "clip_text_model"},
    }
    for part, said in parts.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(said))
    return folder


def write_set(
    folder: Path,
    task: str,
    *,
    side: int = 8,
    channels: int = 4,
    width: int = WIDTH,
    classes: int | None = None,
    text: bool = True,
    weights: str = "ab",
) -> Path:
    """A finished set of 6 records for a task: latents `[1, channels, side, side]`, for refer sentences.

    Args:
        classes: rows of the set's class table; default CLASSES, for refer none.
        text: whether text states are stored beside token ids.
        weights: of the encoders, as the recipe names them.
    """
    sentences = (
        Field("tokens", "npy", "int32", ("S", TOKENS), "sentence"),
        Field("text", "npy", "float16", ("S", TOKENS, width), "sentence"),
    )
    fields = [Field("latent", "npy", "float16", ("V", channels, side, side), "view")]
    fields += sentences[: 1 + text] if task == "refer" else ()
    axis = "sentence" if task == "refer" else "view"
    schema = Schema((*fields, *LABELS[task], Field("meta", "json")), axis)
    shard = write_shard(folder, f"{folder.name}-000000", schema, (_record(task, number, schema) for number in range(6)))
    rows = CLASSES if classes is None else classes
    table = write_table(folder, "classes", {"embeddings": np.ones((rows, width), np.float32)}, {"names": ["x"] * rows})
    recipe = {
        "source": {"name": "toy"},
        "image_encoder": {"encoder": "sd_vae", "weights": weights},
        "text_encoder": {"encoder": "clip_text", "weights": weights, "length": TOKENS},
    }
    seal_set(
        folder,
        name=folder.name,
        split="train",
        recipe=recipe,
        schema=schema,
        shards=[shard],
        rejects=[],
        tables=[] if task == "refer" else [table],
        card={"title": "toy", "licence": "CC0", "splits": ["train"]},
    )
    return folder


def _record(task: str, number: int, schema: Schema) -> Record:
    rng = np.random.default_rng(number)
    latent = schema.field("latent")
    view = exact.build(size=8 * int(latent.shape[-1])).views("x", *PICTURE_PX)[0]
    meta: dict[str, Any] = {"items": [[0, 1]], "views": [view.to_json()], "height": 40, "width": 48}
    values: dict[str, Any] = {"latent": rng.standard_normal((1, *latent.shape[1:])).astype(np.float16), "meta": meta}
    if task == "refer":
        mask = np.zeros(PICTURE_PX, np.uint8, order="F")
        mask[5:20, 5:30] = 1
        meta["sentences"] = ["the object"]
        rle = coco_mask.encode(mask)
        meta["refs"] = [{"rle": {"size": list(PICTURE_PX), "counts": rle["counts"].decode()}}]
        values["tokens"] = np.ones((1, TOKENS), np.int32)
        if "text" in [field.name for field in schema.fields]:
            values["text"] = np.ones((1, *schema.field("text").shape[1:]), np.float16)
    elif task == "depth":
        meta["class_id"] = number % CLASSES
        values["depth"] = np.full(PICTURE_PX, 2.0, np.float32)
    else:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, CLASSES, PICTURE_PX).astype(np.uint8)).save(file, "PNG")
        values["label"] = file.getvalue()
    return Record(f"image{number}", values)


def run_settings(task: str, train: Path, model: Path, out: Path, val: Path | None = None) -> dict[str, Any]:
    """A training configuration as plain data."""
    return {
        "run": {"name": "run", "out": str(out), "workers": 2, "gpus_per_worker": 0},
        "task": dict(TASKS[task]),
        "backbone": {"name": "sd_unet", "model": str(model)},
        "data": {"train": str(train), "val": str(val or train), "batch_size": 4},
        "model": {"head": dict(HEADS[task])},
        "optim": {"schedule": {"name": "poly", "warmup_steps": 3}},
        "loop": {"steps": 12},
    }
