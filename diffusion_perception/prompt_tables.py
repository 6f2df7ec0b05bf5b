"""Class names to a table of text embeddings: settings, where the names come from, and the encoding.

What a prompt is, is `pipeline.prompts`'; storing a table, `shards.contract.tables`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from diffusion_perception import places, plugins
from pipeline.files.class_list import read_class_list
from pipeline.prompts.class_table import LENGTH, ClassTable, PromptSettings, class_table, templates_of
from shards.errors import ConfigError, SourceError

TEXT = {"name": "clip_text", "model": "stable-diffusion-v1-5/stable-diffusion-v1-5", "length": LENGTH}


@dataclass(frozen=True)
class PromptsJob:
    """Settings of a prompt table. Exactly one of names, file and source."""

    out: str  # path of the table, without suffix
    names: tuple[str, ...] = ()  # class names in the order of their ids
    file: str = ""  # class list: text with one name a line, CSV with a column name, labelmap.txt, or a list in JSON
    source: Annotated[Mapping[str, Any], plugins.SOURCES] = field(
        default_factory=dict
    )  # one with classes, as in a build
    prompts: PromptSettings = field(default_factory=PromptSettings)
    text: Annotated[Mapping[str, Any], plugins.ENCODERS] = field(default_factory=lambda: dict(TEXT))  # encoder
    device: str = ""  # empty: CUDA if there is one


def class_names(job: PromptsJob) -> list[str]:
    """The names a job asks for.

    Raises:
        ConfigError: none or several of the three ways, a file that holds no list, or a dataset without classes.
    """
    given = [way for way in ("names", "file", "source") if getattr(job, way)]
    if len(given) != 1:
        raise ConfigError(
            f"class names come from one of names=[a,b], file=PATH and source=NAME; "
            f"found {' and '.join(given) or 'none'}."
        )
    if job.source:
        return source_names(job.source)
    return read_names(Path(job.file)) if job.file else list(job.names)


def read_names(path: Path) -> list[str]:
    """The names of a class list (`pipeline.files.class_list`).

    Raises:
        ConfigError: no such file, or one of another form.
    """
    try:
        return list(read_class_list(path).names)
    except SourceError as error:
        raise ConfigError(f"file={path}: {error}.") from error


def source_names(source: Mapping[str, Any]) -> list[str]:
    """The class list of a source plug-in, in the order of its ids.

    A list that belongs to the published dataset is its module's CLASS_NAMES and needs no data; otherwise the source is
    built from its options and asked for `class_names` or `classes`.

    Raises:
        ConfigError: no such source, or one without classes.
        SourceError: the data is not where the options say.
    """
    names = plugins.constant(plugins.SOURCES, source, "CLASS_NAMES")
    if not names:
        built = plugins.build_plugin(plugins.SOURCES, places.located(source, "source"), "source")
        names = getattr(built, "class_names", None) or getattr(built, "classes", ())
    if not names:
        raise ConfigError(f"source {source['name']}: has no class names of its own; give names= or file=.")
    return list(names)


def build_table(job: PromptsJob, progress: Callable[[int, int], None] = lambda done, total: None) -> ClassTable:
    """Encode the classes of a job; `progress` is called with the number encoded so far and of all."""
    import torch

    templates_of(job.prompts)  # a bad template should not wait for the text model
    names = class_names(job)
    text = places.located(job.text, "text")
    device = job.device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = plugins.build_plugin(plugins.ENCODERS, {"length": LENGTH} | text, "text", device=device)
    return class_table(names, encoder, job.prompts, progress)
