"""Every block on README.md and docs/: Python is run by a test, commands are read and their settings bound.

A command that is shown is parsed by its job's own grammar and bound to its settings: an option that was renamed, a
configuration that is gone or a flag that no longer is one fails here. What they do is tested where the jobs are.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from diffusion_perception import settings
from jobs.command import COMMANDS
from jobs.command_line import CommandLine, places_first
from jobs.set import FAMILY
from jobs.sets.words import draft as of_a_tool
from shards.errors import ContractError
from website.navigation import pages
from website.rendering import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = sorted(name for name in pages() if name != "CHANGELOG.md")
PYTHON_RUN_BY = {
    "README.md": "tests/diffusion_perception/predicting/test_predicting_pages.py",
    "docs/predict.md": "tests/diffusion_perception/predicting/test_predicting_pages.py",
    "docs/methods/label_latents.md": "tests/diffusion_perception/label_latents/test_label_latents.py",
    "docs/models.md": "tests/diffusion_perception/predicting/test_predicting_pages.py",
    "docs/baking.md": "tests/diffusion_perception/baking/test_baking_page.py",
    "docs/extending.md": "tests/test_docs.py",  # the shown files are those in examples/, which have tests
    "docs/features.md": "tests/diffusion_perception/features/test_features_page.py",
    "docs/probes.md": "tests/diffusion_perception/probing/test_probes_page.py",
    "docs/reading_sets.md": "tests/diffusion_perception/torch_data/test_reading_sets_page.py",
    "docs/recipes.md": "tests/diffusion_perception/probing/test_recipes_page.py",
}
JOBS = re.compile(r"(?:ray job submit )?(?:--working-dir \S+ )?(?:-- )?(?:python )?jobs/(\w+)\.py\b(.*)")
COMMAND = re.compile(r"diffusion-perception (\w+)\b(.*)")
# The setting that a command's first word may be.
FIRST = {"jobs.check": "config", "jobs.init": "task", "jobs.picture": "kind"}
FIRST_ONES = {"jobs.report": "runs", "jobs.ui": "runs"}  # and its first words, as the tools' `sets` are
# First words of lines that are no command of ours, and why they are not read here.
OTHERS = {
    "make": "a target of the Makefile: looked up there",
    "python": "-m shards.inspect, shards.verify, website: the module is looked up",
    "ray": "ray start: Ray's own",
    "pip": "installs, over the network",
    "cp": "copies a configuration: the file is looked up",
    "git": "fetches the repository",
    "uv": "writes constraints-lowest.txt, over the network",
    "DIFFUSION_PERCEPTION_FUZZ=1": "fuzzing at length, 20 minutes",
}
# Blocks that are no code: page -> how many, and what they are.
NO_CODE = {
    "README.md": (1, "the tree of folders"),
    "CONTRIBUTING.md": (1, "the tree of folders"),
    "docs/building.md": (1, "what a plan prints"),
    "docs/datasets.md": (1, "layouts of folders"),
    "docs/design.md": (2, "layers and packages, written by website/folders.py"),
    "docs/format.md": (
        2,
        "the folder of a set; the datasets library reading it: tests/set_format/test_peers.py",
    ),
    "docs/methods/data_layouts.md": (6, "layouts of folders"),
    "docs/own_data_refer.md": (1, "a layout"),
    "docs/quick_start.md": (1, "what init prints"),
    "docs/sets.md": (1, "what verify prints"),
    "docs/running.md": (1, "what a dry run prints"),
}
OTHER_LANGUAGES = {  # parts of configurations: where their settings are bound or compared
    ("docs/README.md", "yaml"): "the first line of every configuration: tests/jobs/test_config_schemas.py",
    ("docs/extending.md", "yaml"): "names the parts of examples/: tests/diffusion_perception/test_outside_parts.py",
    ("docs/own_data.md", "yaml"): "two sources, bound below",
    ("docs/own_data_refer.md", "json"): "entries: tests/pipeline/layouts and tests/jobs/test_own_sentences.py",
    ("docs/probes.md", "yaml"): "a part of a probe's configuration",
    ("docs/running.md", "yaml"): "the section data, bound below",
}


def blocks(page: str, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall((ROOT / page).read_text("utf-8")) if language in languages]


def command_lines(block: str) -> list[str]:
    return [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def is_command(line: str) -> bool:
    return bool(JOBS.match(line) or COMMAND.match(line)) or line.split()[0] in OTHERS


def shown() -> list[tuple[str, str]]:
    """(page, line) of every command shown."""
    return [
        (page, line)
        for page in PAGES
        for block in blocks(page, "", "sh")
        if is_command(command_lines(block)[0])
        for line in command_lines(block)
    ]


def read_command(line: str) -> object:
    """The settings that a line gives its job."""
    found, named = JOBS.match(line), COMMAND.match(line)
    assert found or named
    module, text = (f"jobs.{found[1]}", found[2]) if found else (COMMANDS[named[1]], named[2])  # pyright: ignore
    words = shlex.split(text, comments=True)
    if module == "jobs.set":
        module, words = FAMILY[words[0]], words[1:]
    job = importlib.import_module(module)
    if (setting := FIRST.get(module)) and "=" not in words[0] and not words[0].startswith("-"):
        words = [f"{setting}={words[0]}", *words[1:]]
    elif module.startswith("jobs.sets.") or module in FIRST_ONES:
        words = places_first(words, FIRST_ONES.get(module, "sets"))
    draft = getattr(job, "draft", of_a_tool)
    return settings.bind(job.JOB, draft(CommandLine.parse(words, flags=job.FLAGS)))


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the configurations that `init` or `cp` would have written."""
    for name, base in (("mine.build", "build"), ("mine", "build"), ("mine.train", "train")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {ROOT}/configs/{base}/own_seg.yaml\n")
    monkeypatch.chdir(tmp_path)


COMMANDS_SHOWN = [shown_line for shown_line in shown() if JOBS.match(shown_line[1]) or COMMAND.match(shown_line[1])]


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize(("page", "line"), COMMANDS_SHOWN, ids=lambda text: str(text)[:60])
def test_a_command_is_read_as_it_is_shown(page: str, line: str) -> None:
    read_command(line)


def test_the_commands_are_found() -> None:
    assert len(COMMANDS_SHOWN) > 55
    assert len({page for page, _ in COMMANDS_SHOWN}) > 12


def test_every_other_line_of_a_block_of_commands_is_known() -> None:
    for page, line in shown():
        assert is_command(line), f"{page}: {line!r} is no command that a test knows"


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize(
    "line",
    [
        "diffusion-perception train --task refer optim.learning_rate=1",
        "ray job submit -- jobs/train.py --task nothing",
        "diffusion-perception build --locally",
        "python jobs/train.py data.train=s3://bucket/set",
        "diffusion-perception set inspect data/x page.colour=red",
    ],
)
def test_a_command_that_is_wrong_is_seen(line: str) -> None:
    with pytest.raises(ContractError):
        read_command(line)


def test_targets_and_modules_that_are_shown_exist() -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for _, line in shown():
        first, *rest = line.split()
        if first == "make":
            assert rest[0] in targets, line
        elif first == "python" and rest[0] == "-m":
            assert importlib.util.find_spec(rest[1]), line
        elif first == "cp":
            assert (ROOT / rest[0]).is_file(), line


def test_python_is_run_by_a_test_that_reads_the_page() -> None:
    with_python = {page for page in PAGES if blocks(page, "python")}
    assert with_python == set(PYTHON_RUN_BY)
    for page, test in PYTHON_RUN_BY.items():
        assert Path(page).stem in (ROOT / test).read_text("utf-8"), test


def test_what_is_no_code_is_what_is_said_here() -> None:
    found = {}
    for page in PAGES:
        rest = [block for block in blocks(page, "", "sh") if not is_command(command_lines(block)[0])]
        if rest:
            found[page] = len(rest)
    said = {page: count for page, (count, _) in NO_CODE.items()}
    assert found == said, "a block that is neither Python nor commands: say in NO_CODE what it is"


def test_other_languages_are_parts_of_configurations_that_a_test_knows() -> None:
    found = {
        (page, language)
        for page in PAGES
        for language, _ in BLOCK.findall((ROOT / page).read_text("utf-8"))
        if language not in ("", "sh", "python")
    }
    assert found == set(OTHER_LANGUAGES)


def test_sections_of_configurations_that_are_shown_are_bound() -> None:
    from diffusion_perception.building.builder import BuildJob
    from diffusion_perception.train_job import TrainJob

    (data,) = blocks("docs/running.md", "yaml")
    shown_data = yaml.safe_load(data)["data"]
    plain = settings.read_file(f"{ROOT}/configs/train/depth.yaml", ())
    job = settings.bind(TrainJob, {**plain, "data": {**plain["data"], **shown_data}})
    assert job.data.mix.sets[0].weight == 1
    (sources,) = blocks("docs/own_data.md", "yaml")
    plain = settings.read_file(f"{ROOT}/configs/build/own_seg.yaml", ())
    parts = [yaml.safe_load(f"source: {part}")["source"] for part in sources.split("source: ")[1:]]
    assert [settings.bind(BuildJob, {**plain, "source": part}).source["name"] for part in parts] == [
        "coco_segments"
    ] * 2
    (probes,) = blocks("docs/probes.md", "yaml")
    assert set(yaml.safe_load(probes)) == {"probes"}
