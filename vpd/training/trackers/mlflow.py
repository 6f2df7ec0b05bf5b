"""MLflow: needs the extra `mlflow` and the address of a tracking server.

Numbers are metrics over steps, settings are parameters, validation pictures are images. A thread tells them, so no step
waits for the server; the library itself asks again for some minutes. Its own reports to its makers are switched off.
User and password come from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, which the
library reads; none is among settings or in a message.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from PIL import Image

from shards.errors import ConfigError, Interrupted
from shards.storage.options import Secrets, check_printable_url
from vpd.training.behind import Behind
from vpd.training.trackers import AboutRun, Tracker

SECONDS = 60  # that the server has to answer at the start
SECONDS_AT_END = 300  # and to take what is not sent yet
IDENTITY_TAG = "diffusion_perception.run"  # a run's id there is the server's to choose
MOST_LETTERS = 500  # of a parameter, which older servers take; settings.json has all
MOST_OF_NAME = 240  # letters; a server takes 250
AT_ONCE = 100  # parameters, which a server takes in one request
QUIET = ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_DISABLE_AGENT_HINT", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")


def build(
    about: AboutRun,
    *,
    tracking_uri: str = "",
    experiment: str = "diffusion-perception",
    run_name: str = "",
) -> Tracker:
    """Begin, or go on with, a run there.

    Args:
        tracking_uri: of the server, such as http://mlflow:5000; empty: MLFLOW_TRACKING_URI.
        experiment: that it belongs to, made if there is none of that name.
        run_name: that it is shown by; empty: the run's own.

    Raises:
        ConfigError: not installed, no server named, or no answer from it.
    """
    check_printable_url(tracking_uri, "run.track.tracking_uri")
    if not (uri := tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")):
        raise ConfigError(
            "run.track: mlflow needs the address of its server: run.track={name: mlflow, tracking_uri: "
            "http://HOST:5000}, or MLFLOW_TRACKING_URI in the environment of the first worker."
        )
    secrets = Secrets(uri, {})
    for name in QUIET:  # before the import, which begins to report
        os.environ.setdefault(name, "true")
    try:
        library: Any = importlib.import_module("mlflow")  # as in wandb.py
    except ImportError as error:
        raise ConfigError(
            f"run.track: mlflow cannot be imported ({error}): pip install 'diffusion-perception[mlflow]'."
        ) from error
    run = _Run(library, _without_user(uri), secrets)
    try:
        run.behind.ask(lambda: run.begin(about, experiment, run_name or about.name)).result(SECONDS)
        return run
    except TimeoutError:
        why = f"no answer within {SECONDS} seconds"
    except ConnectionError as error:
        why = str(error)
    raise ConfigError(
        f"run.track: mlflow does not begin a run at {secrets.without(uri)}: {why}. Check the address and that the "
        "server is up; an account is given by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN. Without run.track, the run has log.jsonl and TensorBoard."
    )


class _Run:
    """Told by one thread, the training's; all that waits for the server is done by another."""

    def __init__(self, library: Any, uri: str, secrets: Secrets) -> None:
        self._library, self._uri, self._secrets = library, uri, secrets
        self.behind = Behind("mlflow")

    def begin(self, about: AboutRun, experiment: str, name: str) -> None:
        with self._plainly(), _impatient():
            self._client = self._library.MlflowClient(tracking_uri=self._uri)
            group = self._experiment(experiment)
            mine = f"tags.`{IDENTITY_TAG}` = '{about.identity}'"
            runs = list(self._client.search_runs([group], filter_string=mine, order_by=["attributes.start_time ASC"]))
            tags = {IDENTITY_TAG: about.identity}
            run = runs[0] if runs else self._client.create_run(group, tags=tags, run_name=name)
            self._id = run.info.run_id
            if runs:
                self._client.update_run(self._id, status="RUNNING", name=name)
            self._tell_settings(about.settings, run.data)

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is None:
            return self._client.create_experiment(name)
        if known.lifecycle_stage != "active":
            raise ValueError(f"experiment '{name}' is deleted there: restore it, or name another")
        return known.experiment_id

    def _tell_settings(self, settings: Mapping[str, Any], known: Any) -> None:
        """A parameter keeps its first value, so one that is changed at a later start is a tag besides."""
        entities, new, changed = self._library.entities, [], []
        for name, value in dict(_flat(settings)).items():  # two that read alike there are one
            tag = f"changed.{name}"[:MOST_OF_NAME]
            if name not in known.params:
                new.append(entities.Param(name, value))
            elif known.tags.get(tag, known.params[name]) != value:
                changed.append(entities.RunTag(tag, value))
        for start in range(0, len(new), AT_ONCE):
            self._client.log_batch(self._id, params=new[start : start + AT_ONCE], synchronous=True)
        for start in range(0, len(changed), AT_ONCE):
            self._client.log_batch(self._id, tags=changed[start : start + AT_ONCE], synchronous=True)
        self._client.log_text(self._id, json.dumps(_plain(settings), indent=1), "settings.json")

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        now_ms = int(time.time() * 1000)
        metric = self._library.entities.Metric
        told = [metric(_name(f"{kind}/{name}"), float(value), now_ms, step) for name, value in values.items()]

        def tell() -> None:
            with self._plainly():
                self._client.log_batch(self._id, metrics=told, synchronous=True)

        self.behind.ask(tell)

    def show(self, step: int, name: str, jpeg: bytes) -> None:
        key = _name(f"pictures/{name}").replace(":", "_")

        def tell() -> None:
            with self._plainly():
                self._client.log_image(self._id, Image.open(io.BytesIO(jpeg)), key=key, step=step, synchronous=True)

        self.behind.ask(tell)

    def close(self) -> None:
        cause = sys.exception()  # the log is closed while an error is on its way
        status = "KILLED" if isinstance(cause, Interrupted) else "FAILED" if cause else "FINISHED"

        def tell() -> None:
            with self._plainly():
                self._client.set_terminated(self._id, status=status)

        try:
            self.behind.ask(tell).result(SECONDS_AT_END)
        except TimeoutError:
            raise ConnectionError(f"mlflow did not take all within {SECONDS_AT_END} seconds") from None

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Errors in one line without a secret, and without what they came from, which may hold one."""
        try:
            yield
        except Exception as error:  # of many kinds: the library's, its network's, its files'
            line = " ".join(self._secrets.without(f"{type(error).__name__}: {error}").split())
        else:
            return
        raise ConnectionError(line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}…")


@contextmanager
def _impatient() -> Iterator[None]:
    """At the start somebody waits, and may have mistyped the address: ask twice, not for minutes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _without_user(uri: str) -> str:
    """The address for the library, which shows it at times; user and password go where it looks for them."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # the library says so, too
        return uri
    user, _, host = parts.netloc.rpartition("@")
    if not user or parts.scheme not in ("http", "https"):
        return uri
    for name, value in zip(("USERNAME", "PASSWORD"), user.split(":", 1), strict=False):
        os.environ.setdefault(f"MLFLOW_TRACKING_{name}", unquote(value))
    return urlunsplit(parts._replace(netloc=host))


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """`optim.lr` and its value as text, of every setting."""
    for name, value in settings.items():
        where = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{where}.")
        else:
            text = value if isinstance(value, str) else json.dumps(_plain(value))
            yield _name(where.replace("/", "_")), text[:MOST_LETTERS]


def _plain(value: Any) -> Any:
    """Of dicts, lists and what JSON has besides."""
    if isinstance(value, Mapping):
        return {str(name): _plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(of) for of in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _name(text: str) -> str:
    """As a server takes it: letters, digits and a few signs, and as a path one that leads nowhere else."""
    plain = re.sub(r"[^\w.\- :/]", "_", text, flags=re.ASCII)[:MOST_OF_NAME]
    return "/".join(part if part.strip(".") else f"_{part}" for part in plain.split("/"))
