"""Where the options of a store come from, and which of them nobody may read: credentials, endpoints, regions.

What is given wins over the environment, and that over files. The clients themselves read the usual variables
(`AWS_*`, `GOOGLE_*`, `AZURE_*`) and ask the machine's role; added here are fsspec's configuration, the profile files of
AWS, and the names that fsspec's own S3 client has for the same things. `Secrets` takes every secret out of a text.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from shards.errors import ConfigError

StorageOptions = Mapping[str, Any]

_SECRET_NAME = re.compile(
    r"secret|token|passw|credential|signature|sas|connection_string|authorization|cookie|(^|[_-])(key|key_id)$", re.I
)
_SECRET_VARIABLE = re.compile(
    r"^(AWS|AZURE|GOOGLE|GCS|HF|FSSPEC|HTTP|MLFLOW)_.*(SECRET|TOKEN|KEY|PASSWORD|SAS|CREDENTIAL)", re.I
)
_SHORTEST_SECRET = 4  # replacing a shorter text would garble the message and protect nothing
_S3FS_NAMES = {  # fsspec's S3 client -> ours
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "endpoint_url": "endpoint",
    "anon": "skip_signature",
}
_AWS_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "credentials", "{}"), ("AWS_CONFIG_FILE", "config", "profile {}"))
_AWS_FILE_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


def is_secret(name: str) -> bool:
    """Whether an option of this name must not be printed or stored."""
    return bool(_SECRET_NAME.search(name))


def check_printable(options: StorageOptions, setting: str) -> None:
    """ConfigError for a secret among settings, which are printed and saved with every run."""
    if secret := next((name for name, _ in _secrets_in(options)), None):
        raise _not_here(f"setting '{setting}' holds {secret!r}")


def check_printable_url(url: str, setting: str) -> None:
    """ConfigError for a URL among settings with a password, a token or a query in it, or of which nobody can tell."""
    if "://" not in url:
        return
    try:
        urlsplit(url)
    except ValueError:  # it may repeat a password
        shown = shown_url(url)
        raise ConfigError(f"setting '{setting}' is {shown}, whose host cannot be understood; write it anew") from None
    if _secrets_of_url(url):
        raise _not_here(f"setting '{setting}' is a URL with a password, a token or a query in it: {shown_url(url)}")


def _not_here(what: str) -> ConfigError:
    return ConfigError(
        f"{what}. Settings are printed and saved, so a secret has no place there: put it where the store's own tools "
        "look, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of every node, ~/.aws/credentials, "
        "fsspec's configuration, or the machine's role (docs/storage.md). Name endpoints and regions here."
    )


def options_for(protocol: str, given: StorageOptions | None) -> dict[str, Any]:
    """All options of a store of this protocol, in our names."""
    from fsspec.config import conf

    merged: dict[str, Any] = {}
    if protocol == "s3":
        merged |= _aws_profile((given or {}).get("profile"))
    for source in (conf.get(protocol, {}), given or {}):
        renamed = ((_S3FS_NAMES.get(name, name) if protocol == "s3" else name, value) for name, value in source.items())
        merged |= dict(renamed)
    if protocol == "s3":
        merged.pop("profile", None)
    return merged


def _aws_profile(named: str | None) -> dict[str, str]:
    """What AWS' own files say for a profile; nothing of what the environment says already."""
    profile = named or os.environ.get("AWS_PROFILE", "default")
    found: dict[str, str] = {}
    for variable, name, section in _AWS_FILES:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(os.environ.get(variable, Path.home() / ".aws" / name))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"~/.aws/{name} cannot be read: {type(error).__name__}; repair it") from None
        title = profile if profile == "default" else section.format(profile)
        if parser.has_section(title):
            found |= {_AWS_FILE_NAMES[key]: value for key, value in parser[title].items() if key in _AWS_FILE_NAMES}
    if not named and "AWS_ACCESS_KEY_ID" in os.environ:  # never a pair of two places
        for name in ("access_key_id", "secret_access_key", "session_token"):
            found.pop(name, None)
    in_environment = {"region": ("AWS_REGION", "AWS_DEFAULT_REGION"), "endpoint": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")}
    for name, variables in in_environment.items():
        if any(variable in os.environ for variable in variables):
            found.pop(name, None)
    return found


def shown_url(url: str) -> str:
    """A URL for a message: without a password or token, and without a query, which may carry a signature."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.split('://', 1)[0]}://…"  # its host cannot be told from a password
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"***@{host}" if _secret_user(parts.scheme, user) else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def _secret_user(scheme: str, user: str) -> bool:
    """Whether what stands before the @ of a URL is for nobody's eyes: of Azure it is a container."""
    return bool(user) and (":" in user or scheme in ("http", "https"))


def _secrets_of_url(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url.partition("://")[2]]  # a password may be anywhere in it
    user = parts.netloc.rpartition("@")[0]
    found = [user.partition(":")[2] or user] if _secret_user(parts.scheme, user) else []
    found += [unquote(secret) for secret in found]
    return found + ([parts.query] if parts.query else [])


def _secrets_in(options: StorageOptions) -> Iterator[tuple[str, str]]:
    """(name, value) of the secrets among options, at any depth: by their name, or in a URL."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(value)
        elif is_secret(name):
            yield name, str(value)
        elif "://" in str(value):
            yield from ((name, secret) for secret in _secrets_of_url(str(value)))


class Secrets:
    """The secrets that a client of a store knows."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        values = {value for _, value in _secrets_in(options)}
        values |= {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}
        values |= set(_secrets_of_url(url))
        # a token that was read from a file ends in a newline, and messages show it stripped or quoted
        values |= {value.strip() for value in values} | {repr(value.strip())[1:-1] for value in values}
        self._values = sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)

    def without(self, text: str) -> str:
        """The text with every secret, and user and query of every URL, replaced."""
        for value in self._values:
            text = text.replace(value, "***")
        text = re.sub(r"(https?://)[^\s/?\"'@]+@", r"\1***@", text)
        return re.sub(r"(https?://[^\s?\"']+)\?[^\s\"']+", r"\1?***", text)
