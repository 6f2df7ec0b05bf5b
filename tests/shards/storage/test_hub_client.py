"""Writing to the Hugging Face hub, against a stand-in for its API: which calls are made, and what a push makes of them.
No test reaches the hub itself.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import huggingface_hub
import huggingface_hub.errors
import obstore.exceptions
import pytest
from huggingface_hub.utils import get_session, hf_raise_for_status

from shards.errors import StoreFailed
from shards.storage import staging, store
from shards.storage.hub_client import HubClient
from shards.storage.retry import Retry
from shards.storage.storage import open_folder
from shards.upkeep.publication import pull_sets, push_sets
from tests.shards.upkeep.test_copying import files_of

LARGE_BYTES = 20_000  # from which on the stand-in takes a file for one of LFS


class StandIn:
    """What `HfApi` is asked for here, with the files in fsspec's memory."""

    def __init__(self) -> None:
        self.memory, self.root = fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}"
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.uploaded: list[str] = []
        self.fails_after = 10**9

    def create_repo(self, repo_id: str, **said: Any) -> None:
        self.made.append((repo_id, said))

    def upload_file(self, *, path_or_fileobj: bytes | Path, path_in_repo: str, **said: Any) -> None:
        assert said == {"repo_id": "me/latents", "repo_type": "dataset", "revision": None}
        if len(self.uploaded) >= self.fails_after:
            raise ConnectionError("429 Too Many Requests")
        content = path_or_fileobj if isinstance(path_or_fileobj, bytes) else path_or_fileobj.read_bytes()
        self.memory.pipe_file(f"{self.root}/{path_in_repo}", content)
        self.uploaded.append(path_in_repo)

    def get_paths_info(self, repo_id: str, paths: list[str], **said: Any) -> list[SimpleNamespace]:
        if not self.memory.exists(f"{self.root}/{paths[0]}"):
            return []
        content = self.memory.cat_file(f"{self.root}/{paths[0]}")
        sha256 = hashlib.sha256(content).hexdigest()
        return [SimpleNamespace(lfs=SimpleNamespace(sha256=sha256) if len(content) >= LARGE_BYTES else None)]

    def delete_file(self, path: str, repo_id: str, **said: Any) -> None:
        self.memory.rm_file(f"{self.root}/{path}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    stand_in = StandIn()
    real = fsspec.core.url_to_fs

    def url_to_fs(url: str, **options: Any) -> Any:
        if not url.startswith("hf://"):
            return real(url, **options)
        return stand_in.memory, stand_in.root + url.removeprefix("hf://datasets/me/latents")

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token=None: stand_in)
    monkeypatch.setattr(store, "RETRY", Retry(2, 0.001, 0.01))
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path / "staging")
    return stand_in


def test_a_set_goes_to_a_private_repository_and_comes_back(toy_root: Path, hub: StandIn, tmp_path: Path) -> None:
    push_sets([toy_root], "hf://datasets/me/latents")
    assert hub.made[0] == ("me/latents", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert not any("_copy/toy-" in name for name in hub.uploaded)  # the hub knows the hashes itself
    order = [name for name in hub.uploaded if name.startswith("toy/")]
    assert order[-1] == "toy/manifest.json"
    pull_sets(["hf://datasets/me/latents"], tmp_path / "here")
    assert files_of(open_folder(tmp_path / "here" / "toy")) == files_of(open_folder(toy_root))


def test_an_interrupted_push_sends_no_tar_twice(toy_root: Path, hub: StandIn) -> None:
    hub.fails_after = 5
    with pytest.raises(StoreFailed, match="429"):
        push_sets([toy_root], "hf://datasets/me/latents", threads=1)
    hub.fails_after = 10**9
    done = push_sets([toy_root], "hf://datasets/me/latents", threads=1)[0].copied
    assert (done.shards, done.kept) == (1, 2)
    tars = [name for name in hub.uploaded if name.endswith(".tar")]
    assert len(tars) == len(set(tars)) == 3
    assert not any("_copy" in path for path in hub.memory.find(hub.root))


def test_only_repositories_of_datasets_are_written(hub: StandIn) -> None:
    client = HubClient("hf://datasets/me/latents@v1/some/folder/", hub.memory, "")
    assert client._path_in_repo("x.tar") == "some/folder/x.tar"
    assert client._where == {"repo_type": "dataset", "revision": "v1"}
    for other in ("hf://datasets/latents", "hf://me/model", "hf://spaces/me/demo", "hf://buckets/me/b"):
        assert not HubClient(other, hub.memory, "").writable


@pytest.mark.parametrize("name", [*store._REFUSED, *store._FINAL])
def test_errors_that_are_told_by_name_are_those_of_a_client(name: str) -> None:
    assert any(hasattr(home, name) for home in (builtins, obstore.exceptions, huggingface_hub.errors))


@pytest.mark.parametrize(
    ("status", "headers", "tries", "words"),
    [
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, 1, "was refused"),
        (403, {"X-Error-Message": "you may not write here"}, 1, "was refused"),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, 1, "was refused"),
        (404, {"X-Error-Code": "RevisionNotFound"}, 1, "nothing this store can do"),
        (403, {}, 2, "failed 2 times"),
        (500, {}, 2, "failed 2 times"),
    ],
)
def test_what_the_hub_refuses_is_asked_once(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], tries: int, words: str
) -> None:
    asked = []

    def answer(**said: Any) -> None:
        asked.append(said)
        request = get_session().build_request("POST", "https://hub/api/datasets/me/latents/commit/main")
        http = importlib.import_module(type(request).__module__.partition(".")[0])  # another in each version
        hf_raise_for_status(http.Response(status, headers=headers, request=request))

    monkeypatch.setattr(hub, "upload_file", answer)
    with pytest.raises(StoreFailed, match=words):
        store.Store.open("hf://datasets/me/latents").write("a", b"x")
    assert len(asked) == tries
