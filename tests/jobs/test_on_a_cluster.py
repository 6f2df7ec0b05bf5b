"""The jobs as a user runs them: a real Ray head, `ray job submit` in every documented form, killed processes.

The head is started in a copy of the repository, with the model under its hub id in a local hub cache, so that the
literal commands run with the defaults that ship; where the command line is not the point, jobs are submitted by Ray's
client, or run from one driver that stays. Nothing here reaches a network.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from on_cluster import Driver, refused, submitted, succeeded
from short_runs import written
from toy_jobs import losses_of, train_settings

from demo.ray_head import RayHead
from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from shards.verify import find_faults

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # two Ray heads can share two cores
ROOT = Path(__file__).resolve().parents[2]


def test_the_literal_build_command_works_with_its_defaults(head: RayHead, repository: Path) -> None:
    output = succeeded(head.submit("jobs/build_shards.py"))
    assert "refcoco-unc-train: finished" in output
    val = ShardSet.open(repository / "data/shards/refcoco-unc-val")
    assert val.n_records == 2
    assert val.record(0).array("latent").shape == (1, 4, 64, 64)
    assert list(find_faults(repository / "data/shards/refcoco-unc-val")) == []
    again = succeeded(submitted(head, "jobs/build_shards.py splits=[val]"))
    assert "already built with this recipe, nothing to do" in again


@pytest.mark.parametrize(
    ("options", "words", "workers", "steps"),
    [
        ((), ("--", "jobs/train.py", "--task", "refer"), 1, 1),
        ((), ("jobs/train.py", "task=refer"), 0, 2),
        (("--working-dir", "."), ("--", "python", "jobs/train.py", "--task", "refer"), 0, 3),
        (("--runtime-env", "runtime_env.yaml"), ("--", "python", "jobs/train.py", "--task", "refer"), 1, 4),
    ],
)
def test_every_documented_form_trains_and_goes_on(
    head: RayHead, repository: Path, options: tuple[str, ...], words: tuple[str, ...], workers: int, steps: int
) -> None:
    """The four forms take one step each of the same run, which also shows that each resumes the one before.

    A worker is placed from the head's folder and from an uploaded one; the other two forms train in the job itself.
    """
    shards = repository / "data/shards"
    settings = (
        f"data.train={shards}/refcoco-unc-train", "data.val=''",
        f"run.out={repository}/runs", f"run.workers={workers}", "run.cpus_per_worker=1", "data.batch_size=2",
        "loop.steps=4", f"loop.stop_after_steps={steps}", "loop.log_every_steps=1",
    )  # fmt: skip
    succeeded(head.submit(*words, *settings, options=options))
    assert list(losses_of(repository / "runs/refcoco-vpd")) == list(range(1, steps + 1))


def test_rays_own_command_line_still_refuses_the_words_without_dashes(head: RayHead) -> None:
    assert "No such option" in refused(head.submit("jobs/train.py", "--task", "refer"))


def test_a_relative_path_under_an_uploaded_directory_is_an_error(head: RayHead, repository: Path) -> None:
    output = refused(submitted(head, "python jobs/build_shards.py", working_dir=repository))
    assert "runs from an uploaded working directory" in output
    assert "Give an absolute path or a URL" in output


def test_a_tree_over_the_limit_is_refused_with_the_reason(head: RayHead, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "big.bin").write_bytes(os.urandom(105 << 20))
    output = refused(head.submit("--", "true", options=("--working-dir", "."), cwd=tmp_path))
    assert re.search(r"104857600|exceeds the maximum|Maximum request body size", output), output[-2000:]


def test_the_upload_leaves_data_and_tests_behind(head: RayHead, tmp_path: Path) -> None:
    # To a file: of a job that ends at once, Ray may not have read what it printed.
    succeeded(head.submit("--", "sh", "-c", f"ls -a > {tmp_path}/names", options=("--working-dir", ".")))
    names = (tmp_path / "names").read_text().split()
    assert {"jobs", "shards", "configs"} <= set(names)
    assert not {"data", "runs", "tests", ".git"} & set(names)


def test_too_few_free_cpus_is_an_error_and_not_a_hang(
    driver: Driver, sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    config = written(
        tmp_path / "t.yaml", train_settings(sets, tiny_sd, tmp_path, over={"run.workers": 9, "data.batch_size": 9})
    )
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"not enough free resources for 9 training worker\(s\)") as refusal:
        driver.run("jobs.train", "--config", config)
    assert "CPU: needs 9, cluster has 4" in str(refusal.value)
    assert time.monotonic() - started < 60


def test_a_failing_job_exits_non_zero_with_one_clear_message(head: RayHead, tmp_path: Path) -> None:
    output = refused(submitted(head, f"jobs/build_shards.py source.root={tmp_path} out={tmp_path}/out"))
    assert "SourceError" in output
    assert "is not a REFER data folder" in output
    assert "Traceback" not in output
    assert not (tmp_path / "out").exists()
