"""Whatever is typed and whatever lies on the disk, a command ends with a status: no foreign exception leaves it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import command

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("ANY_SETTINGS_EXAMPLES", "40"))
SCHEMAS = {"build": "build", "check": "build", "train": "train", "evaluate": "evaluate", "predict": "predict"}
SCHEMAS |= {"convert": "convert", "prompts": "prompts", "extract": "extract"}
FIXED = {  # nothing is placed on a cluster, and nothing is written outside the folder of the test
    "build": ["out={tmp}/out", "--dry-run"],
    "check": ["page={tmp}/page.html"],
    "train": ["run.out={tmp}/runs", "run.workers=0", "--dry-run"],
    "evaluate": ["workers=0"],
    "predict": ["into={tmp}/out", "out="],
    "convert": ["out={tmp}/converted"],
    "prompts": ["out={tmp}/prompts.safetensors"],
    "extract": ["out={tmp}/extracted"],
}
CONFIGS = {
    kind: [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "configs" / kind).glob("*.yaml"))]
    for kind in ("build", "train")
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and folders that are not what their names say."""
    folder = tmp_path_factory.mktemp("planted")
    contents = {
        "empty.png": b"",
        "cut.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00",
        "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
        "cut.json": b'{"images": [',
        "list.json": b"[1, 2]",
        "surrogate.json": b'{"name": "\\ud800"}',
        "half.jsonl": b'{"image": "\\ud83d", "text": 3}\n\xff\n[]',
        "latin.yaml": b"name: \xe9\xff\nsource: [",
        "list.yaml": b"- a\n- b\n",
        "deep.yaml": b"a: " + b"[" * 200 + b"]" * 200,
        "model.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ",
        "model.ckpt": b"PK\x03\x04 no zip",
        "model.bin": b"\x80\x02}q\x00.",
        "set/manifest.json": b'{"format": 1}',
        "set/shard-000000.tar": b"\x00" * 100,
        "run/state.json": b"{}",
        "run/config.yaml": b"task: 3",
        "sd/unet/config.json": b'{"_class_name": "UNet2DConditionModel", "block_out_channels": "x"}',
        "sd/vae/config.json": b"[]",
        "sd/text_encoder/config.json": b'{"model_type": 7}',
        "images/train/a.png": b"no picture",
        "labels/train/a.png": b"",
        "saved/config.json": b'{"format": 1}',
        "saved/model.safetensors": b"",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "folder.json").mkdir()
    (folder / "folder.png").mkdir()
    return folder


def leaves(schema: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Names of settings, plug-ins' options among them."""
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path
        if depth < 3 and isinstance(inner, dict):
            yield from leaves(inner, f"{path}.", depth + 1)


NAMES = {
    kind: sorted(set(leaves(json.loads((ROOT / "docs/schemas" / f"{schema}.schema.json").read_text()))))
    for kind, schema in SCHEMAS.items()
}
PLACES = ["", "/empty.png", "/cut.png", "/folder.png", "/images", "/cut.json", "/folder.json", "/list.json", "/set"]
PLACES += ["/surrogate.json", "/half.jsonl", "/latin.yaml", "/model.safetensors", "/model.ckpt", "/model.bin", "/run"]
PLACES += ["/sd", "/saved", "/absent", "/images/train/a.png"]
VALUES = st.one_of(
    st.sampled_from(["", "null", "0", "-1", "1e400", "nan", "true", "[]", "{}", "[1, x]", "{name: depth}", "{a: b}"]),
    st.sampled_from(["\ud800", "a\0b", "~nobody-here/x", "..", "é", "9" * 30, "{", "name: [", "&a *a", "!!python/x"]),
    st.sampled_from([f"{{planted}}{place}" for place in PLACES]),
    st.text(max_size=6),
    st.integers().map(str),
)
FILES = ["latin.yaml", "list.yaml", "deep.yaml", "folder.json", "empty.png", "absent.yaml", "run/config.yaml"]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    kind = draw(st.sampled_from(sorted(SCHEMAS)))
    words = [kind]
    side = "train" if kind == "train" else "build" if kind in ("build", "check") else ""
    configs = [*(CONFIGS[side] if side else []), *(f"{{planted}}/{file}" for file in FILES)]
    if config := draw(st.sampled_from(["", *configs])):
        words += ["--config", config] if kind != "check" else [config]
    for _ in range(draw(st.integers(0, 4))):
        words.append(f"{draw(st.sampled_from(NAMES[kind]))}={draw(VALUES)}")
    if draw(st.integers(0, 9)) == 0:
        words.append(draw(st.text(max_size=8)))
    return words + FIXED[kind]


@given(words=command_lines())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 40)
def test_no_foreign_exception_leaves_a_command(
    words: list[str], planted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = planted.parent / "outputs"
    folder.mkdir(exist_ok=True)
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # as strict as a terminal about half pairs
    typed = [word.replace("{planted}", str(planted)).replace("{tmp}", str(folder)) for word in words]
    with (
        contextlib.chdir(ROOT if any(word.startswith("configs/") for word in typed) else folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(io.StringIO()),
        pytest.raises(SystemExit) as ended,
    ):
        command.main(typed)
    assert ended.value.code in (0, 1, 2), f"{typed} ended with {ended.value.code}"
