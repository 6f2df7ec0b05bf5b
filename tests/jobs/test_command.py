"""The console command: which commands there are, exit statuses, and no Ray where there is no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import command, program
from shards.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_RAY = "import sys; sys.modules['ray'] = None\n"  # `import ray` then fails as if it were not installed


def ended(words: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        command.main(words)
    return end.value.code  # type: ignore[return-value]


def test_the_overview_has_a_line_for_every_command(capsys: pytest.CaptureFixture) -> None:
    assert ended(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, module in command.COMMANDS.items():
        assert f"  {name} " in printed
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert "Train a task from a shard set, on 1..N Ray Train workers." in printed
    assert ended([]) == 1


def test_an_unknown_command_is_one_message_with_a_suggestion(capsys: pytest.CaptureFixture) -> None:
    assert ended(["trian"]) == 1
    assert "ConfigError: no command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture) -> None:
    assert ended(["--version"]) == 0
    assert capsys.readouterr().out.startswith("diffusion-perception ")


def test_a_refusal_an_interruption_and_success_have_their_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from jobs import extract_nyuv2

    assert ended(["extract", "rot=/x"]) == 1
    assert "unknown setting 'rot'. Did you mean 'root'?" in capsys.readouterr().err

    def interrupted(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(extract_nyuv2, "run", interrupted)
    assert ended(["extract"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted: what is finished is kept"
    seen: list[list[str]] = []
    monkeypatch.setattr(extract_nyuv2, "run", seen.append)
    assert ended(["extract", "root=/x", "--flag"]) == 0
    assert seen == [["root=/x", "--flag"]]


def test_the_error_of_a_worker_is_told_as_its_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from ray.exceptions import RayTaskError

    from jobs import evaluate

    def failing(words: list[str]) -> None:
        raise RayTaskError("evaluate", "a long traceback", ConfigError("say which sets"))

    monkeypatch.setattr(evaluate, "run", failing)
    assert program.status("jobs.evaluate", []) == 1
    assert capsys.readouterr().err == "\nConfigError: say which sets\n"


def test_commands_without_a_cluster_work_where_ray_is_not_installed(tmp_path: Path) -> None:
    code = WITHOUT_RAY + (
        "from jobs import program\n"
        "for module, words in {'build_prompts': ['out=x'], 'predict': ['image=/absent', 'run=/x'],\n"
        "        'convert_checkpoint': ['in=/absent', 'out=/x'], 'extract_nyuv2': ['root=/absent']}.items():\n"
        "    assert program.status('jobs.' + module, words) == 1\n"
        "import jobs.train, jobs.build_shards, jobs.evaluate, jobs.command\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for said in ("found none", "not an image file", "nothing convertible there", "SourceError"):
        assert said in ran.stderr


def test_what_ray_may_be_given_as_a_job_can_be_run() -> None:
    """`ray job submit jobs/x.py` runs the file itself."""
    scripts = [path for path in (ROOT / "jobs").glob("*.py") if path.read_text().startswith("#!")]
    assert len(scripts) > 10
    assert not [path.name for path in scripts if not os.access(path, os.X_OK)]
