"""Publishing: everything into one folder, then that folder whole to its place, here, at a URL or on the hub.

Owns that a place never holds half a model, and that nothing is overwritten unasked. A folder appears by being renamed,
a repository's files by one commit; at a URL `digests.json` comes last, without which there is no published model, and
the same command sends only what is missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from diffusion_perception.hub import FILES, HUB, NEEDED, at_hand
from diffusion_perception.zoo.card import CARD, card
from diffusion_perception.zoo.job import PublishJob
from shards.errors import ConfigError
from shards.models.hub import NotOnHub, is_hub_id, push_folder
from shards.storage.atomic import flush, sha256_file, temporary_path
from shards.storage.options import shown_url
from shards.storage.staging import staging_folder
from shards.storage.storage import Folder, open_folder

Say = Callable[[str], None]
LOCAL = "file://"


def publish(job: PublishJob, *, replace_there: bool = False, private: bool = True, say: Say = lambda line: None) -> str:
    """Publish a trained model; returns where it is, as `Predictor.from_pretrained` takes it.

    Args:
        replace_there: what is at `out` may be overwritten.
        private: of a repository on the hub that has to be made.

    Raises:
        ConfigError: nothing publishable there, something at `out`, or encoders that are not at hand. Nothing is
            written then.
        ContractError: no finished checkpoint, damaged files, or encoders other than the training set's.
    """
    from vpd.exchange.pretrained import is_pretrained

    source = at_hand(job.run, job.storage)
    if job.out.startswith(HUB):
        repository, _, revision = job.out.removeprefix(HUB).rstrip("/").partition("@")
        if not is_hub_id(repository) or "/" not in repository:
            raise ConfigError(f"out={job.out}: expected a repository of models on the hub, hf://owner/name.")
        replaced = frozenset(NEEDED) if replace_there else None
        with staging_folder() as here:
            write(job, source, here / "model", is_pretrained(source), say)
            say(f"sending {_size(here / 'model')} to {job.out}, in one commit")
            try:
                push_folder(here / "model", repository, revision or None, private=private, replaced=replaced)
            except NotOnHub as error:
                raise ConfigError(
                    f"out={job.out}: not published, {error}. Choose another name, or --replace what is there."
                ) from error
    elif "://" in job.out and not job.out.startswith(LOCAL):
        place = open_folder(job.out, storage_options=job.storage)
        place.check_writable()
        _check_free(place, shown_url(job.out), replace_there)
        with staging_folder() as here:
            write(job, source, here / "model", is_pretrained(source), say)
            _send(here / "model", place, shown_url(job.out), replace_there, say)
    else:
        with _new_folder(Path(os.path.expanduser(job.out.removeprefix(LOCAL))), replace_there) as here:
            write(job, source, here, is_pretrained(source), say)
    say(f"published at {shown_url(job.out)}")
    return job.out


def write(job: PublishJob, place: str, folder: Path, is_model: bool, say: Say) -> None:
    """The whole folder of a model, digests last."""
    from diffusion_perception.zoo.encoders import place_encoders
    from diffusion_perception.zoo.sources import in_precision, source_of_model, source_of_run
    from vpd.exchange.digests import write_digests
    from vpd.exchange.pretrained import write_folder

    source = source_of_model(Path(place)) if is_model else source_of_run(place, job.checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    blueprint = place_encoders(source, job, folder)
    blueprint = replace(blueprint, origin={**blueprint.origin, "dtype": job.dtype})
    weights, rest = in_precision(source, job.dtype)
    write_folder(folder, weights, blueprint, rest)
    source.record.write(folder)
    title = job.title or job.out.rstrip("/").rpartition("/")[2].partition("@")[0]
    text = card(title, job, blueprint, source.record, sum(value.numel() for value in weights.values()))
    (folder / CARD).write_text(text, encoding="utf-8")
    write_digests(folder)
    what = "averaged weights" if source.record.averaged else "weights"
    say(f"{what} of step {source.record.step} in {job.dtype}, encoders {job.encoders}: {_size(folder)}")


@contextmanager
def _new_folder(target: Path, replace_there: bool) -> Iterator[Path]:
    """A folder to fill, which gets the target's name at the end, whole."""
    occupied = target.exists() and (not target.is_dir() or any(target.iterdir()))
    ours = all((target / name).is_file() for name in ("config.json", "model.safetensors"))
    if occupied and not (replace_there and ours):
        why = "; --replace overwrites a model" if ours else ", and it is no model"
        raise ConfigError(f"out={target}: there is something already{why}. Give a new folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    here, old = temporary_path(target), temporary_path(target)
    try:
        here.mkdir()
        yield here
        for path in here.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    flush(file.fileno())
        if occupied:
            target.rename(old)
        try:
            here.rename(target)
        except OSError:
            if occupied:
                old.rename(target)
            raise
    finally:
        shutil.rmtree(here, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_free(place: Folder, shown: str, replace_there: bool) -> None:
    """That nothing is there but a model that may be replaced, or a part of one from a publishing that was cut short."""
    from vpd.exchange.digests import DIGESTS, UNCHECKED

    if place.exists(DIGESTS):
        if not replace_there:
            raise ConfigError(f"out={shown}: a model is published there. Give a new place, or --replace it.")
        return
    ours = (*FILES, *UNCHECKED)
    if strange := [name for name in place.names("*") if not any(fnmatch(name, one) for one in ours)]:
        raise ConfigError(
            f"out={shown}: there is something already ({', '.join(strange[:3])}), and it is no model. Give a new place."
        )


def _send(folder: Path, place: Folder, shown: str, replace_there: bool, say: Say) -> None:
    """Every file that is not there yet, and last what says that all are.

    Raises:
        ConfigError: a file is there with other bytes, and may not be replaced. Nothing is sent then.
    """
    from vpd.exchange.digests import DIGESTS

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    lacking: list[tuple[Folder, Path, str]] = []
    changed: list[str] = []
    for path in [*files, folder / DIGESTS]:
        below, _, name = path.relative_to(folder).as_posix().rpartition("/")
        target, sha256 = place.below(below) if below else place, sha256_file(path)
        there = target.exists(name)
        if there and target.sha256(name) == sha256:
            continue
        lacking.append((target, path, sha256))
        if there:
            changed.append(path.relative_to(folder).as_posix())
    if changed and not replace_there:
        raise ConfigError(
            f"out={shown}: {', '.join(changed[:3])} is there with other bytes. Give a new place, or --replace it."
        )
    if changed and place.exists(DIGESTS):
        place.remove(DIGESTS)  # until the new ones are there, none is whole
    for target, path, sha256 in lacking:
        target.publish(path, path.name, sha256)
    say(f"{len(lacking)} files sent, {len(files) + 1 - len(lacking)} were there; each compared")


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:,.1f} MB"
