"""Every block of docs/baking.md runs as it is shown, on a tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from diffusion_perception import places
from jobs import features
from pipeline.encoders.sd_vae import decoder
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set

PAGE = next((Path(__file__).resolve().parents[3] / "docs").glob("baking.*")).read_text()
COMMANDS = [
    shlex.split(words)[1:]
    for block in re.findall(r"^```\n(diffusion-perception .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for words in block.replace("\\\n", " ").splitlines()
]
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_bake_and_the_blocks_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "CHECKOUT", None)  # relative paths start here
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained("models/sd15")
    for name in ("scenes", "others"):
        write_set(Path("sets", name), "seg", weights=decoder("models/sd15")[1])
    for name in ("a.png", "sub/b.png"):
        (picture := Path("photos", name)).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 60), "teal").save(picture)
    assert [words.pop() for words in COMMANDS[:1]] == ["--dry-run"]
    for command, *words in COMMANDS:
        assert command == "features"
        features.run([*words, "device=cpu"])
    printed = []
    for block in BLOCKS:
        capsys.readouterr()
        exec(compile(block, "the page", "exec"), {})
        printed.append(capsys.readouterr().out)
    assert printed == [
        "[[[[ 2.240000e+02  7.812500e-03 -9.765625e-04]]]]\n",
        "(1, 32, 8, 8)\n",
        "(64, 64) (32, 8, 8)\n",
    ]
