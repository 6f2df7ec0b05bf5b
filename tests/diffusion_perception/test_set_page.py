"""The page of a set: by latents, by pictures of the source, by a decoder; and what it says where one does not fit."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion_perception import plugins
from diffusion_perception.set_page import PageOptions, write_set_page
from pipeline.encoders import sd_vae
from pipeline.views import exact
from shards.contract.schema import Field, Record, Schema
from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import write_toy_set

SIDE = 64


def picture(number: int) -> np.ndarray:
    """uint8 [64, 64, 3]: one colour left, another right."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, number % 3], pixels[:, SIDE // 2 :, (number + 1) % 3] = 220, 220
    return pixels


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, tiny_sd: Path) -> tuple[Path, Path]:
    """(a set of three pictures, the folder with them), encoded by the tiny model."""
    root = tmp_path_factory.mktemp("page")
    encoder: Any = sd_vae.build(str(tiny_sd))
    schema = Schema((*encoder.fields((SIDE, SIDE)), Field("meta", "json")), "view")
    records = []
    for number in range(3):
        path = root / "pictures" / "some" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(path)
        pixels = (picture(number).transpose(2, 0, 1)[None] / np.float32(127.5) - 1).astype(np.float32)
        view = exact.build(size=SIDE).views("x", SIDE, SIDE)[0]
        meta = {"items": [[0, 1]], "views": [view.to_json()], "height": SIDE, "width": SIDE}
        meta["file_name"] = f"some/{number}.png"
        records.append(Record(f"r{number}", {"latent": encoder.encode(pixels)["latent"], "meta": meta}))
    folder = root / "set"
    shard = write_shard(folder, "set-000000", schema, records)
    recipe = {"source": {"name": "x"}, "image_encoder": encoder.fingerprint}
    seal_set(folder, name="set", split="val", recipe=recipe, schema=schema, shards=[shard])
    return folder, root / "pictures"


def pictures_of(path: Path) -> list[np.ndarray]:
    found = re.findall(r'alt="picture" src="data:image/jpeg;base64,([^"]+)"', path.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int) for text in found]


def test_pictures_of_the_source(encoded: tuple[Path, Path], tmp_path: Path) -> None:
    folder, pictures = encoded
    write_set_page(ShardSet.open(folder), tmp_path / "p.html", PageOptions(pictures=str(pictures)))
    shown = pictures_of(tmp_path / "p.html")
    assert len(shown) == 3
    for number, pixels in enumerate(shown):
        assert abs(pixels[160, 80] - picture(number)[0, 0]).max() < 12
        assert abs(pixels[160, 240] - picture(number)[0, -1]).max() < 12


def test_a_picture_that_is_not_there_is_said_once_and_the_latent_shown(
    encoded: tuple[Path, Path], tmp_path: Path
) -> None:
    write_set_page(ShardSet.open(encoded[0]), tmp_path / "p.html", PageOptions(pictures=str(tmp_path)))
    text = (tmp_path / "p.html").read_text()
    assert text.count("some records are shown by their latents. The first, r0:") == 1
    assert len(pictures_of(tmp_path / "p.html")) == 3


def test_latents_decoded_by_the_model_and_a_warning_by_another(
    encoded: tuple[Path, Path], tiny_sd: Path, tmp_path: Path
) -> None:
    shards = ShardSet.open(encoded[0])
    write_set_page(shards, tmp_path / "p.html", PageOptions(model=str(tiny_sd)))
    text = (tmp_path / "p.html").read_text()
    assert "Latents, decoded by" in text
    assert "is not the model" not in text
    decode, _ = sd_vae.decoder(str(tiny_sd))
    decoded = decode(shards.record(1).array("latent")[0])
    assert decoded.shape == (SIDE, SIDE, 3)
    middle = pictures_of(tmp_path / "p.html")[1][2::5, 2::5]  # every pixel of the decoder's is 5 of the page's
    assert abs(middle - decoded).mean() < 12
    shards.manifest.recipe["image_encoder"]["weights"] = "ab12"
    write_set_page(shards, tmp_path / "q.html", PageOptions(model=str(tiny_sd)))
    assert "is not the model that encoded this set" in (tmp_path / "q.html").read_text()


def test_a_set_without_views_or_an_encoder_has_a_page(tmp_path: Path) -> None:
    write_toy_set(tmp_path / "toy")
    shards = ShardSet.open(tmp_path / "toy")
    write_set_page(shards, tmp_path / "p.html", PageOptions(records=2))
    text = (tmp_path / "p.html").read_text()
    for words in ("toy, split train", "truncated JPEG", "toy-000002", "channel 3: mean", "depth.npy"):
        assert words in text
    assert len(pictures_of(tmp_path / "p.html")) == 2
    with pytest.raises(ConfigError, match="image_encoder of the recipe"):
        write_set_page(shards, tmp_path / "p.html", PageOptions(model="x"))


def test_what_cannot_be_is_refused_before_the_set_is_read(encoded: tuple[Path, Path], tmp_path: Path) -> None:
    shards = ShardSet.open(encoded[0])
    with pytest.raises(ConfigError, match="is not a folder"):
        write_set_page(shards, tmp_path / "no" / "p.html")
    with pytest.raises(ConfigError, match=r"pictures=.* is not a folder"):
        write_set_page(shards, tmp_path / "p.html", PageOptions(pictures=str(tmp_path / "no")))
    with pytest.raises(ConfigError, match="one of the two"):
        PageOptions(pictures="a", model="b")
    with pytest.raises(ConfigError, match="expected 0, and 1, or more"):
        PageOptions(looked_at=0)


def test_every_image_encoder_that_ships_has_a_decoder() -> None:
    assert callable(plugins.function(plugins.ENCODERS, {"name": "sd_vae"}, "image", "decoder"))
