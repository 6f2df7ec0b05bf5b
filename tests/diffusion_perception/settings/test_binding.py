"""Values to types: what was typed, empty ones, null, unions, and plug-in options of the types of `build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from diffusion_perception import plugins
from diffusion_perception.settings import bind, convert, lay_over, read_file
from diffusion_perception.settings.typed import Typed
from shards.errors import ConfigError

VIEWS = Annotated[Mapping[str, Any], "pipeline.views"]


@dataclass(frozen=True)
class Section:
    rate: float = 0.1
    note: str | None = "x"


@dataclass(frozen=True)
class Job:
    name: str
    names: tuple[str, ...] = ()
    steps: int = 7
    section: Section = field(default_factory=Section)
    maybe: Section | None = None
    views: VIEWS = field(default_factory=dict)
    views_of: Mapping[str, VIEWS] = field(default_factory=dict)


def typed(**overrides: str) -> Job:
    """A job of overrides alone; `__` in a keyword is a dot."""
    data: dict[str, Any] = {}
    for key, text in {"name": "a", **overrides}.items():
        lay_over(data, key.replace("__", "."), text)
    return bind(Job, data)


@pytest.mark.parametrize(
    "text", ["2024_01", "off", "1e3", "null", "007", "1:30", "2024-01-02", "no: the left one", "[a"]
)
def test_a_text_setting_keeps_what_was_typed(text: str) -> None:
    assert typed(name=text).name == text


def test_quotes_around_all_of_a_text_are_not_part_of_it() -> None:
    assert typed(name="'a b'").name == "a b"
    assert typed(name='"he" said').name == '"he" said'


def test_a_list_of_names_keeps_what_was_typed() -> None:
    assert typed(names="[off, on, 007, 'a, b']").names == ("off", "on", "007", "a, b")


@pytest.mark.parametrize(("value", "kind"), [("202401", "int"), ("2024_01", "int"), ("off", "bool"), ("1.5", "float")])
def test_a_file_must_quote_text_that_yaml_reads_as_something_else(value: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"name: a\nnames: [b, {value}]\n")
    with pytest.raises(ConfigError, match=rf"'names\[1\]' is .*YAML reads type {kind}, expected str. Quote it"):
        bind(Job, read_file(file))
    file.write_text(f"name: '{value}'\n")
    assert bind(Job, read_file(file)).name == value


def test_empty_means_none_as_each_type_has_it() -> None:
    job = typed(names="", section__note="", views="", views_of="", maybe="")
    assert (job.names, job.section.note, job.views, job.views_of, job.maybe) == ((), None, {}, {}, None)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("steps", "'steps' is empty; expected int"),
        ("name", "'name' is empty; expected str"),
        ("section", "'section' is empty; expected a section {rate, note}"),
        ("section__rate", "'section.rate' is empty; expected float"),
    ],
)
def test_empty_is_refused_where_there_is_no_none(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        typed(**{key: ""})


def test_a_blank_in_a_file_is_empty_and_null_goes_back_to_the_default(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\nnames:\nsteps: null\nsection: {note: null, rate: null}\n")
    assert bind(Job, read_file(file)) == Job("a", section=Section(note=None))
    file.write_text("name: a\nsteps:\n")
    with pytest.raises(ConfigError, match="'steps' is empty; expected int"):
        bind(Job, read_file(file))


def test_a_key_may_stand_once_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\nsection:\n  rate: 1\n  rate: 2\n")
    with pytest.raises(ConfigError, match="'rate' stands twice, again in line 4"):
        read_file(file)


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (float, "1e-3", 1e-3),
        (float, Typed("1e-3"), 1e-3),
        (float, 2, 2.0),
        (int, Typed("1e5"), 100000),
        (int | None, Typed("null"), None),
        (int | Sequence[int], Typed("[3, 4]"), [3, 4]),
        (int | Sequence[int], 3, 3),
        (str | Sequence[str], Typed("[up, off]"), ["up", "off"]),
        (str | Sequence[str], Typed("up+down"), "up+down"),
        (str | Path, "/x", "/x"),
        (Path, Typed("/x"), Path("/x")),
        (bool | float | None, Typed("yes"), True),
        (bool | float | None, Typed("0.5"), 0.5),
        (Literal["off", "on"], Typed("off"), "off"),
        (Literal[1, 2], Typed("2"), 2),
        (tuple[float, float], Typed("[1, 2e-1]"), (1.0, 0.2)),
        (Mapping[str, int], Typed("{a: 1}"), {"a": 1}),
        (list[tuple[int, str]], [[1, "a"]], [(1, "a")]),
        (Any, Typed("{a: [1e-3, 2, off]}"), {"a": ["1e-3", 2, False]}),
        (complex, Typed("[1, 2]"), [1, 2]),  # a type that is not known passes the value on
    ],
)
def test_values_take_the_type_that_is_stated(hint: Any, value: Any, expected: Any) -> None:
    found = convert(hint, value, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (float, "abc", "is 'abc'; expected float"),
        (float, "nan", "expected float"),
        (float, True, "is True; expected float"),
        (int, 1.5, "is 1.5; expected int"),
        (int, Typed("1.5"), "is 1.5; expected int"),
        (bool, Typed("2"), "is 2; expected bool"),
        (int | Sequence[int], [1, "b"], r"'x\[1\]' is 'b'; expected int"),
        (int | None, Typed("abc"), "is 'abc'; expected int"),
        (tuple[float, float], Typed("[1]"), r"is \[1\]; expected \[float, float\]"),
        (Sequence[str], Typed("a"), r"expected list of str. For one, write \[a\]"),
        (Literal["cached", "online"], Typed("cache"), "expected one of cached, online. Did you mean 'cached'"),
        (float, Typed("[1"), "not readable as YAML"),
        (str, ["a"], r"is \['a'\]; expected str"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(hint, value, "x")


def test_an_error_inside_an_optional_section_is_told_as_it_is() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'maybe.rates'. Did you mean 'rate'"):
        bind(Job, {"name": "a", "maybe": {"rates": 1}})


def test_options_of_a_plugin_take_the_types_of_its_build_when_settings_are_bound() -> None:
    job = typed(views="{name: segmentation, mode: k, epochs: 1e1}", views__k="4", views__scale="[5e-1, 2]")
    assert job.views == {"name": "segmentation", "mode": "k", "epochs": 10.0, "k": 4, "scale": [0.5, 2.0]}
    with pytest.raises(ConfigError, match=r"'views.epochs' is 'many'; expected float"):
        typed(views="segmentation", views__epochs="many")
    with pytest.raises(ConfigError, match=r"unknown setting 'views_of.val.strides'. Did you mean 'stride'"):
        typed(views_of="{val: {name: depth_tiles, strides: 3}}")


@dataclass(frozen=True)
class Cut:
    views: VIEWS = field(default_factory=lambda: {"name": "exact", "size": 64})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": 32}, {"name": "exact", "size": 32}),
        ({"kernel": "x"}, {"name": "exact", "size": 64, "kernel": "x"}),
        (Typed("{size: 32}"), {"name": "exact", "size": 32}),
        ({"name": None, "kernel": "x"}, {"name": "exact", "size": 64, "kernel": "x"}),
        ({"name": "exact"}, {"name": "exact"}),
        ({"name": "segmentation", "k": 2}, {"name": "segmentation", "k": 2}),
        (Typed("segmentation"), {"name": "segmentation"}),
        (Typed(""), {}),
    ],
)
def test_options_without_a_name_lie_over_the_plugin_that_is_the_default(given: Any, expected: dict[str, Any]) -> None:
    assert bind(Cut, {"views": given}).views == expected


def test_what_an_outside_build_states_is_read_from_its_source_or_from_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_views.py").write_text(
        "from __future__ import annotations\n"
        "from functools import partial\n"
        "from typing import TYPE_CHECKING, Optional\n"
        "if TYPE_CHECKING:\n    from nowhere import Thing\n"
        "def _build(kind: str, size: Optional[int] = None, thing: Thing | None = None, rate: float = 1): ...\n"
        "build = partial(_build, 'x')\n"
    )
    (tmp_path / "plain_views.py").write_text(
        (tmp_path / "outside_views.py").read_text().replace("partial(_build, 'x')", "_build")
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("outside_views", "plain_views"):
        spec = {"name": f"{name}", "size": Typed("5"), "thing": Typed("[1]"), "rate": "1e-3"}
        with pytest.raises(ConfigError, match=r"no module pipeline\.views"):  # a short name is one of ours
            bind(Job, {"name": "a", "views": spec})
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for name in ("outside_views", "plain_views"):
        (tmp_path / f"{name}.py").rename(tmp_path / "package" / f"{name}.py")
        spec = {"name": f"package.{name}", "size": Typed("5"), "thing": Typed("[1]"), "rate": "1e-3"}
        assert bind(Job, {"name": "a", "views": spec}).views == {**spec, "size": 5, "thing": [1], "rate": 1e-3}


@pytest.mark.parametrize(
    "package",
    [
        "pipeline.sources",
        "pipeline.views",
        "pipeline.encoders",
        "vpd.tasks",
        "vpd.backbones",
        "vpd.heads",
        "vpd.training.schedules",
        "vpd.training.trackers",
    ],
)
def test_reading_the_source_of_a_plugin_says_what_the_plugin_itself_says(package: str) -> None:
    from diffusion_perception.settings import modules, signatures, source_text

    kind = modules.kind_of(package)
    for name in modules.available(package):
        read = source_text.of_module(f"{package}.{name}", kind.n_leading)
        told = signatures.of_callable(plugins.find(package, {"name": name}, "x").build, kind.n_leading)
        assert read is not None
        assert [(o.name, o.doc) for o in read.options] == [(o.name, o.doc) for o in told.options]
        for ours, theirs in zip(read.options, told.options, strict=True):
            if ours.hint is not Any:
                assert ours.hint == theirs.hint, (name, ours.name)
            if not isinstance(ours.default, signatures.Unread) and theirs.default is not signatures.REQUIRED:
                assert ours.default == (list(theirs.default) if isinstance(theirs.default, tuple) else theirs.default)
