"""docs/probes.md: its commands run as they are shown, and its plain PyTorch reaches the table's number."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from diffusion_perception import places, settings
from jobs import features, probe
from jobs.command_line import CommandLine
from pipeline.encoders.sd_vae import decoder
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set

PAGE = next((Path(__file__).resolve().parents[3] / "docs").glob("probes.*")).read_text()
COMMANDS = [
    shlex.split(block.replace("\\\n", " "))[2:]
    for block in re.findall(r"^```\n(diffusion-perception probe .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
]
(BAKED,) = re.findall(r"^```\n(diffusion-perception features .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(PLAIN,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(NAMED,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_plain_pytorch_reaches_the_number_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "CHECKOUT", None)  # relative paths start here
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained("models/sd15")
    _, weights = decoder("models/sd15")
    for split in ("train", "val"):
        write_set(Path("sets", split), "seg", weights=weights)
    first, _ = COMMANDS
    for line in BAKED.replace("\\\n", " ").splitlines():
        _, command, *words = shlex.split(line)
        {"features": features, "probe": probe}[command].run([*words, "device=cpu"])
    (baked, *_) = json.loads(Path("probes/baked/table.json").read_text())["rows"]
    assert (baked["features"], baked["layer"], baked["timestep"]) == ("half", "up_blocks.1", 261)
    probe.run([*first, "noise=none", "device=cpu", "steps=8"])
    rows = json.loads(Path("probes/rooms/table.json").read_text())["rows"]
    row = next(row for row in rows if (row["layer"], row["timestep"]) == ("up_blocks.1", 1))
    capsys.readouterr()
    exec(
        compile(
            PLAIN.replace("steps, classes, task, kept = 40,", "steps, classes, task, kept = 8,"),
            "the page, plain",
            "exec",
        ),
        {},
    )
    name, value = capsys.readouterr().out.split()
    assert len(rows) == 4
    assert float(value) == pytest.approx(row["scores"][name], abs=1e-6)
    assert 0.05 < float(value) < 0.95


def test_the_plain_lines_are_few() -> None:
    assert len([line for line in PLAIN.splitlines() if line and not line.startswith(("import ", "from "))]) <= 30


def test_the_settings_shown_are_settings() -> None:
    _, pairs = COMMANDS
    job = settings.bind(probe.JOB, probe.draft(CommandLine.parse(pairs, flags=probe.FLAGS)))
    assert job.pairs == {"name": "spair", "root": "data/SPair-71k"}
    said = yaml.safe_load(NAMED)["probes"]
    words = [f"probes={json.dumps(said)}", *COMMANDS[0]]
    draft = probe.draft(CommandLine.parse(words, flags=probe.FLAGS))
    assert settings.bind(probe.JOB, draft).probes["knn"] == {"name": "knn", "kept": 100_000}
