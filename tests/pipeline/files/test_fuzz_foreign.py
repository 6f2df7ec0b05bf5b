"""Files of strangers, damaged and made to harm: pickles, MATLAB and HDF5 files, tars, annotations, trees of links and
pipes. Errors of ours, no code run, no other file read, little time and memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo.nyuv2_world import write_nyuv2_world
from pipeline.files.depth_values import read_depth
from pipeline.files.entries import parse_json
from pipeline.files.label_coding import read_values
from pipeline.files.photos import read_picture
from pipeline.files.plain_pickle import unpickle_plain
from pipeline.files.tars.places import LocalTars
from pipeline.files.tars.reading import TarReader
from pipeline.files.trees import MOST_NAMES, folders_below
from pipeline.sources.nyuv2.mat import DEPTHS, LabeledMat, read_splits
from pipeline.sources.pairs.matching import Folders, both_files, list_pairs
from pipeline.sources.refcoco.annotations import parse_instances, parse_refs
from shards.errors import ContractError, Reject, SourceError
from tests.fuzz import cases, damaged, outcome
from tests.pipeline.sources.refer_miniature import SQUARE, annotation, ref

REFS = [ref(1, 7, 3, "the red circle", "left"), ref(2, 8, 4, "café")]
PICKLES = [pickle.dumps(REFS, protocol) for protocol in (0, 2, 4)]
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.floats(allow_nan=False), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner, max_size=4)),
)
OPCODES = [
    bytes([code]) for code in b"(.012FNIJKLMRPQSTUVXabcdeghijlopqrstu)}]\x80\x81\x82\x85\x86\x87\x88\x8a\x8b\x8c\x8d"
]
OPCODES += [bytes([code]) for code in b"\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98"]
CODE = st.lists(
    st.one_of(st.sampled_from(OPCODES), st.binary(max_size=9), st.sampled_from([b"os\nsystem\n"])), max_size=40
)


@cases(400)
@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_fuzz_plain_values_are_read_as_they_were(value: Any, protocol: int) -> None:
    assert outcome(lambda: unpickle_plain(pickle.dumps(value, protocol), Path("refs.p"))) == value


@cases(600)
@given(data=st.data(), which=st.sampled_from(range(len(PICKLES))))
def test_fuzz_bytes_of_a_pickle(data: st.DataObject, which: int) -> None:
    payload = data.draw(damaged(PICKLES[which]))
    outcome(lambda: parse_refs(payload, Path("refs.p")), Path("/nowhere"))


@cases(600)
@given(parts=CODE)
def test_fuzz_instructions_of_a_pickle(parts: list[bytes]) -> None:
    outcome(lambda: unpickle_plain(b"".join(parts) + b".", Path("refs.p")), Path("/nowhere"))


@cases(200)
@given(data=st.data())
def test_fuzz_annotations(data: st.DataObject) -> None:
    refs = parse_refs(PICKLES[1], Path("refs.p"))
    content = {
        "annotations": [annotation(3, 7, SQUARE), annotation(4, 8, SQUARE)],
        "images": [{"id": number, "file_name": "a.jpg", "height": 16, "width": 20} for number in (7, 8)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    payload = data.draw(damaged(json.dumps(content).encode()))
    outcome(lambda: parse_instances(payload, Path("instances.json"), refs), Path("/nowhere"))
    outcome(lambda: parse_json(payload, "instances.json"), Path("/nowhere"))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nyuv2_world(tmp_path_factory.mktemp("world"), {"train": 1, "test": 1})


@cases(400)
@given(data=st.data())
def test_fuzz_splits_of_nyuv2(rooms: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "splits.mat"
    path.write_bytes(data.draw(damaged((rooms / "splits.mat").read_bytes())))
    found = outcome(lambda: read_splits(path, 2), tmp_path)
    assert isinstance(found, ContractError) or sorted([*found["train"], *found["test"]]) in ([], [0], [1], [0, 1])


def read_mat(path: Path) -> list[Any]:
    """Everything of the labelled file."""
    found: list[Any] = []
    for depth in DEPTHS:
        mat = LabeledMat(path, depth)
        found += [len(mat), mat.names()]
        for index in range(min(len(mat), 2)):
            try:
                found.append(mat.frame(index))
            except Reject:
                continue
    return found


@cases(250)
@given(data=st.data())
def test_fuzz_bytes_of_the_labelled_file(rooms: Path, tmp_path: Path, data: st.DataObject) -> None:
    right = (rooms / "nyu_depth_v2_labeled.mat").read_bytes()
    head = data.draw(damaged(right[:8192]))  # the rest is pixels
    (tmp_path / "a.mat").write_bytes(head + right[8192:])
    outcome(lambda: read_mat(tmp_path / "a.mat"), tmp_path)


SECRET = bytes(range(1, 256)) * 4000


def external_storage(file: h5py.File, name: str, secret: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def external_link(file: h5py.File, name: str, secret: Path) -> None:
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other[name] = np.full(file[name].shape, 7, file[name].dtype)
    del file[name]
    file[name] = h5py.ExternalLink(str(secret.with_suffix(".h5")), f"/{name}")


def virtual(file: h5py.File, name: str, secret: Path) -> None:
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other[name] = np.full(file[name].shape, 7, file[name].dtype)
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[...] = h5py.VirtualSource(str(secret.with_suffix(".h5")), name, file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def claimed_size(file: h5py.File, name: str, secret: Path) -> None:
    dtype = file[name].dtype
    del file[name]
    file.create_dataset(name, (2, 3, 2**18, 2**18) if name == "images" else (2, 2**18, 2**18), dtype, chunks=True)


HARM = (external_storage, external_link, virtual, claimed_size)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["images", "rawDepths"])
def test_a_labelled_file_that_leads_elsewhere_is_refused(
    rooms: Path, tmp_path: Path, harm: Callable[[h5py.File, str, Path], None], name: str
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "a.mat").write_bytes((rooms / "nyu_depth_v2_labeled.mat").read_bytes())
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        harm(file, name, tmp_path / "secret")
    found = outcome(lambda: LabeledMat(tmp_path / "a.mat").frame(0), tmp_path)
    assert isinstance(found, SourceError)


@pytest.mark.parametrize("harm", HARM)
def test_a_depth_file_that_leads_elsewhere_is_refused(
    tmp_path: Path, harm: Callable[[h5py.File, str, Path], None]
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["depth"] = np.ones((4, 5), np.float32)
        file["images"] = np.ones((4, 5), np.float32)
    assert read_depth(tmp_path / "a.h5", "depth").shape == (4, 5)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        harm(file, "depth", tmp_path / "secret")
    assert isinstance(outcome(lambda: read_depth(tmp_path / "a.h5", "depth"), tmp_path), Reject)


def files_of_every_kind(folder: Path) -> list[Path]:
    """Small files that a source may be given: depth in four forms, a label, pictures."""
    depth = np.arange(1, 21, dtype=np.float32).reshape(4, 5)
    np.save(folder / "a.npy", depth)
    with h5py.File(folder / "a.h5", "w") as file:
        file["depth"] = depth
    Image.fromarray(depth.astype(np.uint16)).save(folder / "a.png")
    Image.fromarray(depth).save(folder / "a.tif")
    Image.fromarray(depth.astype(np.uint8)).save(folder / "b.png")
    for suffix in ("jpg", "webp", "bmp"):
        Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / f"c.{suffix}")
    return sorted(folder.iterdir())


@cases(400)
@given(data=st.data())
def test_fuzz_pictures_labels_and_depth(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "right").mkdir(exist_ok=True)
    path = data.draw(st.sampled_from(files_of_every_kind(tmp_path / "right")))
    payload = path.read_bytes()
    changed = tmp_path / path.name
    changed.write_bytes(data.draw(st.one_of(damaged(payload), st.just(b""), st.just(payload[: len(payload) // 2]))))
    for read in (read_picture, lambda path: read_depth(path, "depth"), lambda path: read_values(path, "index")):
        found = outcome(lambda read=read: read(changed), tmp_path)
        assert isinstance(found, np.ndarray | Reject)


@cases(200)
@given(data=st.data())
def test_fuzz_tars_of_pictures(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a/1.jpg", "a/1.txt", "a/2.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 600
            tar.addfile(info, io.BytesIO(name.encode() * 100))
    path = tmp_path / "a.tar"
    path.write_bytes(data.draw(damaged(buffer.getvalue()[:4096])))

    def read() -> int:
        reader = TarReader(LocalTars(tmp_path), str(tmp_path / "indexes"))
        (tar,) = reader.place.tars("a.tar")
        members = [member for sample in reader.samples(tar).values() for member in sample.values()]
        read = [outcome(lambda member=member: reader.read(tar, [member])) for member in members]
        return sum(len(found) for found in read if not isinstance(found, ContractError))

    outcome(read, tmp_path)


ENTRIES = ("file", "folder", "dangling", "loop", "parent", "root", "pipe", "link")


@cases(200)
@given(tree=st.lists(st.tuples(st.sampled_from(ENTRIES), st.sampled_from("abc"), st.sampled_from("abcd")), max_size=12))
def test_fuzz_trees_of_files(tmp_path_factory: pytest.TempPathFactory, tree: list[tuple[str, str, str]]) -> None:
    root = tmp_path_factory.mktemp("tree")
    sides = (("images", ".jpg"), ("labels", ".png"))
    for side, suffix in sides:
        (root / side).mkdir()
        (root / side / f"right{suffix}").write_bytes(b"x")
        for kind, folder, name in tree:
            parent = root / side / folder
            parent.mkdir(exist_ok=True)
            entry = parent / f"{name}{suffix}"
            if entry.exists() or entry.is_symlink():
                continue
            if kind == "file":
                entry.write_bytes(b"x")
            elif kind == "folder":
                entry.mkdir()
            elif kind == "pipe":
                os.mkfifo(entry)
            else:
                aims = {
                    "dangling": "nowhere",
                    "loop": entry.name,
                    "parent": "..",
                    "root": str(root / side),
                    "link": "../b",
                }
                entry.symlink_to(aims[kind])

    def read() -> list[str]:
        folders = Folders(root / "images", root / "labels")
        listing = list_pairs(folders, "train")
        for pair in listing.pairs.values():
            try:
                image, label = both_files(pair, folders)
                read_picture(image)
                read_values(label, "index")
            except Reject:
                continue
        return sorted(listing.pairs)

    found = outcome(read, root)
    piped = any(kind == "pipe" for kind, _, _ in tree)
    assert isinstance(found, SourceError) if isinstance(found, ContractError) else "right" in found
    assert piped or not isinstance(found, ContractError)
    if not isinstance(found, ContractError):
        real = sum(path.is_file() or path.is_symlink() for path in (root / "images").rglob("*.jpg"))
        assert len(found) <= 8 * (real + 1)


def test_an_array_that_claims_a_terabyte_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 5), np.float32))
    claimed = (tmp_path / "a.npy").read_bytes().replace(b"(4, 5), }" + b" " * 12, b"(524288, 524288), }" + b" " * 2)
    (tmp_path / "a.npy").write_bytes(claimed)
    found = outcome(lambda: read_depth(tmp_path / "a.npy"), tmp_path)
    assert isinstance(found, Reject)
    assert "it claims float32 [524288, 524288], and has 80 bytes" in str(found)


def test_pictures_below_a_link_to_their_parent_are_counted_once(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to("..")
    assert sum(len(names) for _, names in folders_below(tmp_path)) == 8


def test_links_that_double_at_every_step_are_refused(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        for name in "ab":
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")
    found = outcome(lambda: list(folders_below(tmp_path / "0")), tmp_path)
    assert isinstance(found, SourceError)
    assert f"more than {MOST_NAMES} names" in str(found)


def test_damaged_splits_are_never_foreign_exceptions(tmp_path: Path) -> None:
    """Single bytes of the file that SciPy writes, every third one."""
    scipy.io.savemat(tmp_path / "right.mat", {"trainNdxs": np.c_[[1, 2]], "testNdxs": np.c_[[3]]}, do_compression=True)
    right = (tmp_path / "right.mat").read_bytes()
    for place in range(0, len(right), 3):
        changed = bytearray(right)
        changed[place] ^= 0xFF
        (tmp_path / "splits.mat").write_bytes(changed)
        outcome(lambda: read_splits(tmp_path / "splits.mat", 3), tmp_path)
