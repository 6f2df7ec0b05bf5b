"""What belongs together by its name, in listings of many files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.layouts import names


def test_pictures_and_labels_of_a_large_set_are_cut_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "FILES", 7)
    numbers = [f"{number:02d}" for number in range(12)]
    for kind, suffix, order in (("images", ".jpg", numbers), ("labels", ".png", numbers[::-1])):
        for number in order:  # a file system lists them in any order
            path = tmp_path / kind / f"scene{int(number) % 3}" / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    images, labels = names.files_in(tmp_path / "images"), names.files_in(tmp_path / "labels")
    assert [name[:-4] for name in images] == [name[:-4] for name in labels]
    assert len(images) == 7
    found = names.same_names(images, labels, (".png",))
    assert found
    assert len(found.stems) == 7
