"""Writing to repositories of the Hugging Face hub (`hf://datasets/owner/name/path`): reading is fsspec's, every file
written is a commit of its own, and the hub itself says the sha256 of the large ones.

A repository that does not exist is made, private. Its account is the one of `hf auth login` or HF_TOKEN.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.storage.filesystem_client import FilesystemClient
from shards.storage.options import StorageOptions, options_for

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PLACE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
_KIND = "dataset"


def hub_client_of(url: str, given: StorageOptions | None) -> tuple[HubClient, StorageOptions]:
    """The client for a URL `hf://...`, and the options it was made with."""
    import fsspec

    options = options_for("hf", given)
    files, root = fsspec.core.url_to_fs(url, **options)
    return HubClient(url, files, root, options.get("token")), options


class HubClient(FilesystemClient):
    """A repository, or a folder of it; `files` reads it. Of other kinds than datasets it only reads."""

    def __init__(self, url: str, files: Any, root: str, token: str | None = None) -> None:
        found = _PLACE.fullmatch(url)
        super().__init__(files, root, writable=found is not None)
        self._repository, self._revision, folder = found.groups() if found else ("", None, "")
        self._folder, self._token = (folder or "").strip("/"), token

    def put(self, name: str, payload: bytes) -> None:
        self._upload(name, payload)

    def put_file(self, name: str, path: Path) -> str:
        self._upload(name, path)
        return self.sha256(name)

    def sha256(self, name: str) -> str:
        if not self.writable:
            return ""
        found = self._api.get_paths_info(self._repository, [self._path_in_repo(name)], **self._where)
        lfs = getattr(found[0], "lfs", None) if found else None
        return lfs.sha256 if lfs else ""

    def delete(self, name: str) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            self._api.delete_file(self._path_in_repo(name), self._repository, **self._where)
        except EntryNotFoundError:
            return
        self._files.invalidate_cache()

    def _upload(self, name: str, content: bytes | Path) -> None:
        _ = self._made
        self._api.upload_file(
            path_or_fileobj=content, path_in_repo=self._path_in_repo(name), repo_id=self._repository, **self._where
        )
        self._files.invalidate_cache()  # it keeps listings

    @cached_property
    def _api(self) -> HfApi:
        import huggingface_hub

        return huggingface_hub.HfApi(token=self._token)

    @cached_property
    def _made(self) -> bool:
        self._api.create_repo(self._repository, repo_type=_KIND, private=True, exist_ok=True)
        return True

    @property
    def _where(self) -> dict[str, Any]:
        return {"repo_type": _KIND, "revision": self._revision}

    def _path_in_repo(self, name: str) -> str:
        return "/".join(filter(None, (self._folder, name)))
