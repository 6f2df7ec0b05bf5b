"""Repositories of models on the Hugging Face hub: which of their files the local cache holds, fetching those it lacks,
and pushing a folder as one commit.

Owns what a hub id looks like, and how a hub that does not answer is told in words. Everything that a machine without
network has in its cache is found without asking. Which files of a repository are wanted is decided by those who ask
(`shards.models.parts`, `diffusion_perception.hub`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class NotOnHub(Exception):
    """Why something could not be had from the hub; an answer for whoever asked, who says what it was needed for."""


def is_hub_id(name: str) -> bool:
    """Whether it can be the id of a repository: `owner/name` or `name`, and no path."""
    return not name.startswith((".", "-", "~")) and ID.fullmatch(name) is not None


def cached_snapshot(repository: str, revision: str | None = None) -> Path | None:
    """The folder of what is cached of a repository, which may be a part of it; None when nothing is."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:  # no pattern: else newer versions of the library refuse a snapshot of which files are missing
        snapshot = huggingface_hub.snapshot_download(
            repository, revision=revision, local_files_only=True, allow_patterns=[]
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Path(snapshot)


def files_of(repository: str, revision: str | None = None) -> list[str]:
    """Names of all files of a repository, asked of the hub.

    Raises:
        NotOnHub: it cannot be asked, or has no such repository or revision.
    """
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().list_repo_files(repository, revision=revision)
    except _unavailable() as error:
        raise NotOnHub(_reason(error)) from error


def fetch(repository: str, names: Sequence[str], revision: str | None = None) -> Path:
    """The snapshot's folder once it holds these files; those in the cache are not fetched again.

    Raises:
        NotOnHub: as of `files_of`, or a file is not there.
    """
    import huggingface_hub

    try:
        paths = [Path(huggingface_hub.hf_hub_download(repository, name, revision=revision)) for name in names]
    except _unavailable() as error:
        raise NotOnHub(_reason(error)) from error
    return paths[0].parents[names[0].count("/")]


def push_folder(
    folder: Path,
    repository: str,
    revision: str | None = None,
    *,
    private: bool = True,
    replaced: Set[str] | None = None,
) -> str:
    """Make a folder the content of a repository, in one commit, so that it is there whole or not at all; returns the
    address of the commit. A repository that does not exist is made. Large files that an interrupted push had sent are
    the hub's already, by their sha256.

    Args:
        private: of a repository that is made.
        replaced: files may be there already, if these are among them, and are removed by the same commit.

    Raises:
        NotOnHub: the hub refuses, cannot be asked, or has files there that were not to be replaced.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        there = [name for name in api.list_repo_files(repository, revision=revision) if name != ".gitattributes"]
        if there and replaced is None:
            raise NotOnHub(f"it has files there already ({', '.join(there[:3])})")
        if set(there) - {"README.md"} and not (replaced or frozenset()) <= set(there):
            raise NotOnHub(f"what it has there is no model ({', '.join(there[:3])}), which nothing replaces")
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message="Publish a trained model",
            delete_patterns="*" if there else None,
        )
    except _unavailable() as error:
        raise NotOnHub(_reason(error)) from error
    return str(commit.commit_url)


def _unavailable() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    return (HTTPError, HFValidationError, OSError, ValueError)


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(error, OfflineModeIsEnabled):
        return "the hub may not be asked (HF_HUB_OFFLINE is set)"
    if isinstance(error, GatedRepoError):
        return "the hub asks for an account that may read it (hf auth login)"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such repository, or not for this account"
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return f"the hub does not give it ({said})"
