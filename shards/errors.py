"""Every error this project raises on purpose, in one tree.

    ContractError
    |-- SchemaMismatch        a record, member or setting does not fit the schema of the set
    |-- FingerprintMismatch   the set was built from another recipe than the one in hand
    |-- CorruptShard          bytes on disk differ from what was written
    |-- IncompleteSet         no manifest, or a file named by it is missing
    |-- BeingBuilt            somebody else builds this set now
    |-- StoreFailed           a store of files (a bucket, a web server) refuses, or does not answer again and again
    |-- LabelsFailed          a caller's labels function raised; names the record, keeps the cause
    |-- SourceError           a dataset folder is not what its official layout says (ends the build)
    |-- Reject                one source sample is unusable (goes to rejects.jsonl, the build goes on)
    |-- NonFinite             a number of a training is NaN or infinite, and the run was to stop then
    |-- CorruptCheckpoint     a checkpoint of a training differs from what was written
    |-- NotSaved              the last checkpoint of a training could not be written
    |-- Interrupted           somebody asked the work to end early; the message says how to go on
    `-- ConfigError           an unknown or unread setting, or settings that cannot be combined

A message says what was found, what was expected, where, and what to do about it.
"""

import difflib
from collections.abc import Iterable


class ContractError(Exception):
    """Base of every error raised on purpose."""


class SchemaMismatch(ContractError):
    """A record, member or request does not fit the schema."""


class FingerprintMismatch(ContractError):
    """Two recipes that must be equal are not; the message lists the fields that differ."""


class CorruptShard(ContractError):
    """Bytes differ from the ones whose hash was recorded when they were written."""


class IncompleteSet(ContractError):
    """The manifest, or a file that it names, does not exist."""


class BeingBuilt(ContractError):
    """Another driver builds this set, or may have begun to; the message says who, since when, and what to do."""


class StoreFailed(ContractError):
    """A store of files refuses a request, or fails at it again and again; nothing is known about the file."""


class LabelsFailed(ContractError):
    """A labels function raised; `__cause__` is the original error."""


class SourceError(ContractError):
    """A dataset folder or file is not what the official layout says; fatal for the build."""


class Reject(ContractError):
    """One source sample cannot be used; its reason is recorded and the build goes on."""


class NonFinite(ContractError):
    """A loss, a gradient or a weight is NaN or infinite; the message names the step and the records of its batch."""


class CorruptCheckpoint(ContractError):
    """Bytes of a checkpoint differ from those whose hash was recorded when it was written; the message names them."""


class NotSaved(ContractError):
    """The last checkpoint of a training could not be written; `__cause__` is the store's error."""


class Interrupted(ContractError):
    """Work was asked to end before its end, and did so in order; the message says what is kept and how to go on."""


class ConfigError(ContractError):
    """A setting is unknown, unread, or impossible together with another one."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean …?' for the closest known word, or nothing: the end of a message about an unknown one."""
    word, spellings = word.lower(), {name.lower(): name for name in known}
    close = difflib.get_close_matches(word, list(spellings), n=1, cutoff=0.55)
    close += [name for name in spellings if word.startswith(f"{name}_") or name.startswith(f"{word}_")]
    return f" Did you mean '{spellings[close[0]]}'?" if close else ""
