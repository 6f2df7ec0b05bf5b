"""Every block of docs/baking.md runs as it is shown, on a tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from diffusion_perception import places
from jobs import features
from pipeline.encoders.sd_vae import decoder
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set

PAGE = next((Path(__file__).resolve().parents[3] / "docs").glob("baking.*")).read_text()
(COMMAND,) = re.findall(r"^```\n(diffusion-perception features .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(BLOCK,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_command_bakes_and_the_block_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "CHECKOUT", None)  # relative paths start here
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained("models/sd15")
    write_set(Path("sets/scenes"), "seg", weights=decoder("models/sd15")[1])
    *words, dry = shlex.split(COMMAND.replace("\\\n", " "))[2:]
    assert dry == "--dry-run"
    features.run([*words, "device=cpu"])
    capsys.readouterr()
    exec(compile(BLOCK, "the page", "exec"), {})
    assert capsys.readouterr().out == "(64, 64) (32, 8, 8)\n"
