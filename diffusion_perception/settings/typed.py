"""YAML that remembers what was typed, for settings whose meaning only their type can tell.

`name=2024_01` is text for a text setting, though YAML reads a number; `views.k=8` is a number. So a value of the
command line stays `Typed` until its setting is bound. Which types there are is `values`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from diffusion_perception.settings.layers import Layered
from shards.errors import ConfigError

_QUOTES = ("'", '"')


@dataclass(frozen=True)
class Typed:
    """A value as it was typed."""

    text: str

    @property
    def words(self) -> str:
        """What a text setting takes: the text as it is, without quotes that enclose all of it."""
        try:
            node = yaml.compose(self.text, Loader=_Loader)
        except (yaml.YAMLError, RecursionError):
            return self.text  # a sentence need not be YAML
        quoted = isinstance(node, yaml.ScalarNode) and node.style in _QUOTES
        return node.value if quoted else self.text

    @property
    def empty(self) -> bool:
        return not self.words.strip()

    def opened(self, where: str) -> Any:
        """One value of YAML, whose own parts are typed still: a list, a mapping, text, None, or this value itself.

        Raises:
            ConfigError: not YAML.
        """
        try:
            return _opened(yaml.compose(self.text, Loader=_Loader))
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"setting '{where}' is {self.text!r}: not readable as YAML: {error}") from error

    def plain(self, where: str) -> Any:
        """What YAML makes of the text.

        Raises:
            ConfigError: not YAML.
        """
        return plain_yaml(self.text, f"setting '{where}' is {self.text!r}")


def _opened(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_opened(part) for part in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key: _opened(part) for key, (_, part) in zip(_keys(node), node.value, strict=True)}
    if not isinstance(node, yaml.ScalarNode):
        return None
    is_text = node.style in _QUOTES or node.tag == "tag:yaml.org,2002:str"
    return node.value if is_text else Typed(node.value)


def is_null(value: Any) -> bool:
    """Whether a value is YAML's null, typed or read."""
    return value is None or (isinstance(value, Typed) and value.text.strip() in ("null", "~"))


def untyped(value: Any, where: str = "") -> Any:
    """The same data with every typed value as YAML reads it."""
    if isinstance(value, Typed):
        return untyped(value.plain(where), where)  # of a mapping, parts may be empty
    if isinstance(value, Layered):
        value = value.merged()
    if isinstance(value, Mapping):
        return {key: untyped(part, f"{where}.{key}") for key, part in value.items()}
    return [untyped(part, where) for part in value] if isinstance(value, list) else value


def _keys(node: yaml.MappingNode) -> list[str]:
    """The keys of a mapping, each of which may stand once."""
    keys: list[str] = []
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.YAMLError(f"a key is a word, line {key.start_mark.line + 1} has another one.")
        if key.value in keys:
            raise yaml.YAMLError(f"the key '{key.value}' stands twice, again in line {key.start_mark.line + 1}.")
        keys.append(key.value)
    return keys


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand once, `key:` with nothing after it is an empty value and no null, and nothing is a
    part of itself."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._around: list[str | None] = []  # anchors of the nodes that the next one is inside of

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._around:
            raise yaml.YAMLError(f"*{event.anchor} is inside of &{event.anchor}, which would then hold itself.")
        self._around.append(event.anchor)
        node = super().compose_node(parent, index)
        self._around.pop()
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _keys(node)
        return super().construct_mapping(node, deep)

    def construct_null(self, node: yaml.ScalarNode) -> Typed | None:
        return None if node.value else Typed("")


_Loader.add_constructor("tag:yaml.org,2002:null", _Loader.construct_null)


def plain_yaml(text: str, what: str) -> Any:
    """A document as data. `what` opens the message.

    Raises:
        ConfigError: not YAML, or a key that stands twice.
    """
    try:
        # A blank document is no blank value.
        return yaml.load(text, Loader=_Loader) if text.strip() else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise ConfigError(f"{what}: not readable as YAML: {error}") from error
