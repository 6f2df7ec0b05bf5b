"""The graph that test_architecture.py judges by sees what it must: each kind of import, cycles, cycles of rooms."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_graph import cycles, folded, graph, imports, modules

Source = dict[str, str]


def written(root: Path, sources: Source) -> dict[str, Path]:
    for name, text in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules(root, {name.split("/")[0] for name in sources})


def test_an_import_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "if TYPE_CHECKING:\n    import ray.train as t\ndef f():\n    from vpd.training.loop import train, Parts\n"
    )
    assert imports(file) == (("ray.train", (), 2), ("vpd.training.loop", ("train", "Parts"), 4))


def test_a_name_from_a_package_leads_to_its_module_or_to_its_init(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        {
            "a/__init__.py": "from a.part import thing\n",
            "a/part.py": "",
            "b/one.py": "from a import part\n",
            "b/two.py": "from a import thing\n",
            "b/three.py": "from a import part, thing\n",
            "b/four.py": "import a.part\nimport os\n",
        },
    )
    assert graph(files) == {
        "a": {"a.part"},
        "a.part": set(),
        "b.one": {"a.part"},
        "b.two": {"a"},
        "b.three": {"a", "a.part"},
        "b.four": {"a.part"},
    }


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a/x.py": "import a.y\n", "a/y.py": "def f():\n    import a.x\n"}, [["a.x", "a.y"]]),
        ({"a/x.py": "import a.y\n", "a/y.py": "import a.z\n", "a/z.py": "from a import x\n"}, [["a.x", "a.y", "a.z"]]),
        ({"a/__init__.py": "from a.x import f\n", "a/x.py": "from a import f\n"}, [["a", "a.x"]]),
        ({"a/x.py": "import a.x\n"}, [["a.x"]]),
        ({"a/x.py": "import a.z\n", "a/y.py": "import a.z\nimport a.x\n", "a/z.py": ""}, []),
        (
            {"a/p.py": "import a.q\n", "a/q.py": "import a.p\n", "a/r.py": "import a.p\nimport a.s\n"}
            | {"a/s.py": "import a.r\n"},
            [["a.p", "a.q"], ["a.r", "a.s"]],
        ),
    ],
)
def test_cycles_are_found(tmp_path: Path, sources: Source, expected: list[list[str]]) -> None:
    assert cycles(graph(written(tmp_path, sources))) == expected


def test_rooms_can_need_each_other_although_no_module_does(tmp_path: Path) -> None:
    files = written(
        tmp_path, {"a/p/x.py": "import a.q.x\n", "a/q/x.py": "", "a/q/y.py": "import a.p.y\n", "a/p/y.py": ""}
    )
    edges = graph(files)
    assert cycles(edges) == []
    assert cycles(folded(edges, {m: m.rpartition(".")[0] for m in files})) == [["a.p", "a.q"]]
