"""Cluster manifests: they fit their schemas, their commands exist and take their settings, and their numbers agree.

Nothing here was ever applied to a cluster; what can be held offline is held.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from diffusion_perception import plugins, settings
from jobs.command import COMMANDS
from jobs.command_line import CommandLine

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RAYJOBS = sorted((DEPLOY / "kuberay").glob("*.yaml"))
CLUSTER = DEPLOY / "cluster.yaml"
SCHEMA = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TO_CHANGE = re.compile(
    r"example\.org|claimName|activeDeadlineSeconds|[mM](in|ax)(Replicas|_workers)|InstanceType|region"
)


def rayjob(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


def faults(data: Any) -> list[str]:
    return [f"{fault.json_path}: {fault.message}" for fault in jsonschema.Draft7Validator(SCHEMA).iter_errors(data)]


def containers(data: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = data["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def bound(words: list[str]) -> Any:
    """The job of a command line, its source's options read as its `build` takes them."""
    program, command, *rest = words
    assert program in PROJECT["scripts"]
    module = importlib.import_module(COMMANDS[command])
    job = settings.bind(module.JOB, module.draft(CommandLine.parse(rest, flags=module.FLAGS)))
    if command == "build":
        plugins.bind_plugin(plugins.SOURCES, job.source, "source")
    return job


@pytest.mark.parametrize("file", RAYJOBS, ids=lambda file: file.stem)
def test_a_rayjob_fits_the_fields_of_the_crd(file: Path) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert faults(rayjob(file)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: job["spec"].update(entryPoint="x"),
        lambda job: job["spec"].update(backoffLimit="2"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda job: containers(job)[1]["resources"]["limits"].update({"nvidia.com/gpu": 8}),
        lambda job: containers(job)[0]["volumeMounts"][0].update(path="/data"),
        lambda job: job["metadata"].update(name="Train_RefCOCO"),
    ],
)
def test_the_schema_sees_a_spoiled_manifest(spoil: Callable[[dict[str, Any]], None]) -> None:
    job = copy.deepcopy(rayjob(RAYJOBS[0]))
    spoil(job)
    assert faults(job)


@pytest.mark.parametrize("file", RAYJOBS, ids=lambda file: file.stem)
def test_its_command_exists_and_asks_for_what_its_nodes_have(file: Path) -> None:
    data = rayjob(file)
    words = shlex.split(data["spec"]["entrypoint"])
    assert not {"&&", ";", "|"} & set(words)
    job = bound(words)
    (group,) = data["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    gpus, cpus = (int(limits[name]) * group["replicas"] for name in ("nvidia.com/gpu", "cpu"))
    if words[1] == "train":
        assert job.run.workers == gpus
        assert job.run.workers * job.run.cpus_per_worker <= cpus
        assert job.data.batch_size % job.run.workers == 0
    else:
        assert (job.resources.actors, job.resources.gpus_per_actor) == (0, -1)  # one for each GPU there is
        assert gpus * job.resources.cpus_per_actor <= cpus


@pytest.mark.parametrize("file", RAYJOBS, ids=lambda file: file.stem)
def test_every_path_lies_on_a_volume_that_every_node_mounts(file: Path) -> None:
    data = rayjob(file)
    words = shlex.split(data["spec"]["entrypoint"])
    values = [word.partition("=")[2] for word in words if word.partition("=")[2].startswith("/")]
    assert len(values) >= 2
    for container in containers(data):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        values_here = [*values, *(variable["value"] for variable in container["env"])]
        assert [value for value in values_here if not value.startswith(f"{mounts['data']}/")] == []
        assert mounts["shm"] == "/dev/shm"
    cluster = data["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert volumes == {mount["name"] for c in spec["containers"] for mount in c["volumeMounts"]}


@pytest.mark.parametrize("file", RAYJOBS, ids=lambda file: file.stem)
def test_versions_and_replicas_agree(file: Path) -> None:
    data = rayjob(file)
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert data["spec"]["rayClusterSpec"]["rayVersion"] == pinned["ray"]
    assert len({container["image"] for container in containers(data)}) == 1
    assert f":{PROJECT['version']}-" in containers(data)[0]["image"]
    (group,) = data["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


@pytest.mark.parametrize("file", [*RAYJOBS, CLUSTER], ids=lambda file: file.stem)
def test_lines_to_change_are_marked(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    unmarked = [line for line in lines if TO_CHANGE.search(line) and "# EDIT" not in line]
    assert unmarked == []
    assert sum("# EDIT" in line for line in lines) >= 4


def test_the_cluster_file_fits_rays_own_schema_and_its_numbers_agree() -> None:
    data = yaml.safe_load(CLUSTER.read_text())
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    schema = json.loads(
        Path(next(iter(ray.submodule_search_locations or ())), "autoscaler/ray-schema.json").read_text()
    )
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "head_type": "head"}, schema)
    kinds = data["available_node_types"]
    workers = {name: kind for name, kind in kinds.items() if name != data["head_node_type"]}
    assert len(workers) == len(kinds) - 1
    assert sum(kind["min_workers"] for kind in workers.values()) <= data["max_workers"]
    assert data["docker"]["image"] == containers(rayjob(RAYJOBS[0]))[0]["image"]
    assert any("mount" in command for command in data["initialization_commands"])


def test_the_command_in_the_cluster_file_is_one() -> None:
    comment = "\n".join(line.removeprefix("#") for line in CLUSTER.read_text().splitlines() if line.startswith("#"))
    submitted = comment.partition("ray job submit -- ")[2].partition("ray down")[0].replace("\\\n", " ")
    kinds = yaml.safe_load(CLUSTER.read_text())["available_node_types"]
    assert bound(shlex.split(submitted)).run.workers == kinds["gpu"]["resources"]["GPU"]
