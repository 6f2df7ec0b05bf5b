"""The annotation reader takes what Python 2 and 3 wrote, refuses code, and names the record that is wrong."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.files.plain_pickle import unpickle_plain
from pipeline.sources.refcoco.annotations import Refer, load_refer, parse_instances, parse_refs
from shards.errors import SourceError
from tests.pipeline.sources.refer_miniature import SQUARE, annotation, ref, write_folder

HERE = Path("refs(unc).p")


def python2_pickle(value: Any, protocol: int) -> bytes:
    """What Python 2's cPickle wrote for a value whose text is `str`: byte strings, opcodes S (0) and U, T (1, 2)."""

    def emit(item: Any) -> bytes:
        if isinstance(item, bytes):
            if protocol == 0:
                return b"S" + repr(item)[1:].encode("ascii") + b"\n"
            return b"U" + bytes([len(item)]) + item if len(item) < 256 else b"T" + struct.pack("<i", len(item)) + item
        if isinstance(item, int):
            return b"I%d\n" % item if protocol == 0 else b"J" + struct.pack("<i", item)
        if isinstance(item, list):
            start = b"(l" if protocol == 0 else b"]"
            return start + b"".join(emit(entry) + b"a" for entry in item)
        start = b"(d" if protocol == 0 else b"}"
        return start + b"".join(emit(key) + emit(entry) + b"s" for key, entry in item.items())

    return (b"\x80\x02" if protocol == 2 else b"") + emit(value) + b"."


def as_bytes(value: Any, encoding: str) -> Any:
    if isinstance(value, str):
        return value.encode(encoding)
    if isinstance(value, list):
        return [as_bytes(item, encoding) for item in value]
    if isinstance(value, dict):
        return {key.encode(): as_bytes(item, encoding) for key, item in value.items()}
    return value


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python_2_byte_strings_are_read_as_text(protocol: int) -> None:
    records = [ref(1, 7, 3, "the red circle", "x" * 300)]
    (found,) = parse_refs(python2_pickle(as_bytes(records, "ascii"), protocol), HERE)
    assert [sentence.sent for sentence in found.sentences] == ["the red circle", "x" * 300]
    assert (found.ref_id, found.ann_id, found.image_id, found.split) == (1, 3, 7, "train")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python_2_text_outside_ascii_is_read_as_latin1(protocol: int) -> None:
    records = [ref(1, 7, 3, "caf\xe9 chair")]
    (found,) = parse_refs(python2_pickle(as_bytes(records, "latin1"), protocol), HERE)
    assert found.sentences[0].sent == "café chair"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_python_3_protocol_is_read_with_unicode_unchanged(protocol: int) -> None:
    (found,) = parse_refs(pickle.dumps([ref(1, 7, 3, "café ☕")], protocol), HERE)
    assert found.sentences[0].sent == "café ☕"


class Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_os_system_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    payload = pickle.dumps([ref(1, 7, 3, "x"), Harmful(tmp_path / "ran")], protocol)
    with pytest.raises(SourceError, match=r"refs\(unc\).p: asks for the Python object (posix|nt)\.system"):
        parse_refs(payload, HERE)
    assert not (tmp_path / "ran").exists()


def test_code_hidden_behind_text_that_needs_latin1_is_refused_too() -> None:
    with pytest.raises(SourceError, match=r"asks for the Python object os\.system"):
        parse_refs(b"(lU\x01\xe9acos\nsystem\n(S'true'\ntRa.", HERE)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"cbuiltins\neval\n.", r"builtins\.eval"),
        (b"(S'true'\nios\nsystem\n.", r"os\.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"posix\.system"),
        (pickle.dumps({1, 2}, 2), r"__builtin__\.set"),
    ],
)
def test_every_opcode_that_names_a_global_is_refused(payload: bytes, name: str) -> None:
    with pytest.raises(SourceError, match=name):
        unpickle_plain(payload, HERE)


@pytest.mark.parametrize("payload", [b"Psomewhere\n.", b"\x80\x02X\x01\x00\x00\x00xQ."])
def test_persistent_ids_are_refused(payload: bytes) -> None:
    with pytest.raises(SourceError, match="persistent id"):
        unpickle_plain(payload, HERE)


@pytest.mark.parametrize(
    "payload",
    [b"", b"<html>404</html>", pickle.dumps([ref(1, 7, 3, "x")], 2)[:-20], b"\x80\x63.", b"X\x01\x00\x00\x00\xff."],
)
def test_a_damaged_pickle_is_a_source_error(payload: bytes) -> None:
    with pytest.raises(SourceError, match="not a readable pickle"):
        unpickle_plain(payload, HERE)


def broken(**changes: Any) -> list[Any]:
    record = ref(2, 7, 3, "a", "b") | changes
    return [ref(1, 7, 3, "fine"), {key: value for key, value in record.items() if value is not ...}]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"refs": []}, "holds dict; expected a list"),
        ([], "an empty list"),
        ([ref(1, 7, 3, "fine"), "text"], "ref 1 of 2: is str; expected a dict"),
        (broken(ann_id=...), "ref 1 of 2: the key 'ann_id' is missing; found .*'image_id'"),
        (broken(split=...), "ref 1 of 2: the key 'split' is missing"),
        (broken(image_id="7"), "ref 1 of 2: 'image_id' is str; expected int"),
        (broken(image_id=-1), "ref 1 of 2: image_id is -1"),
        (broken(category_id=True), "'category_id' is bool; expected int"),
        (broken(sentences=()), "'sentences' is tuple; expected list"),
        (broken(sentences=[{"sent_id": 1}]), "ref 1 of 2, sentence 0: the key 'sent' is missing"),
        (broken(sentences=[{"sent_id": 1, "sent": b"bytes"}]), "ref 1 of 2, sentence 0: 'sent' is bytes; expected str"),
        (broken(ref_id=1), "ref 1 of 2: ref_id 1 was already used by ref 0"),
    ],
)
def test_a_wrong_record_is_named_by_its_index_and_file(records: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        parse_refs(pickle.dumps(records, 3), HERE)
    assert str(HERE) in str(caught.value)


ENTRY = {"id": 7, "file_name": "a.jpg", "height": 16, "width": 20}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "is list; expected a dict"),
        ({"images": [], "categories": []}, "'annotations' is missing"),
        ({"annotations": [{"image_id": 1}]}, "annotation 0: the key 'id' is missing"),
        ({"annotations": [annotation(3, 7, "text")]}, "'segmentation' is str; expected list or dict"),
        ({"annotations": [annotation(3, 7, [SQUARE])] * 2}, "annotation 1: id 3 occurs twice"),
        ({"images": [ENTRY | {"width": 0}]}, "positive size"),
        ({"images": [ENTRY | {"file_name": "../secret.jpg"}]}, "plain file name"),
        ({"images": [ENTRY, ENTRY]}, "image 1: id 7 occurs twice"),
        ({"categories": [{"id": 1}]}, "category 0: the key 'name' is missing"),
    ],
)
def test_wrong_instances_are_named(content: Any, message: str) -> None:
    if isinstance(content, dict) and len(content) == 1:
        content = {"annotations": [], "images": [], "categories": []} | content
    payload = content if isinstance(content, bytes) else orjson.dumps(content)
    with pytest.raises(SourceError, match=message):
        parse_instances(payload, Path("instances.json"), parse_refs(pickle.dumps([ref(1, 7, 3, "x")]), HERE))


@pytest.fixture
def refer(tmp_path: Path) -> Refer:
    refs = [ref(5, 7, 3, "one"), ref(4, 7, 3, "two", split="val"), ref(9, 7, 3, "three")]
    folder = write_folder(tmp_path, refs, [annotation(3, 7, [SQUARE]), annotation(99, 7, [SQUARE])]) / "refcoco"
    return load_refer(folder / "refs(unc).p", folder / "instances.json")


def test_refs_of_a_split_keep_the_order_of_the_file(refer: Refer) -> None:
    assert [found.ref_id for found in refer.refs_of("train")] == [5, 9]
    assert refer.splits == ["train", "val"]


def test_annotations_that_no_ref_names_are_not_kept(refer: Refer) -> None:
    assert list(refer.annotations) == [3]
    assert refer.images[7].width == 20
    assert refer.categories == {1: "thing"}


def test_what_was_read_travels_whole(refer: Refer) -> None:
    copy = pickle.loads(pickle.dumps(refer))
    assert copy == refer
    assert {type(one) for one in (*copy.refs, *copy.refs[0].sentences, *copy.annotations.values())} == {
        type(one) for one in (*refer.refs, *refer.refs[0].sentences, *refer.annotations.values())
    }


def test_refs_without_a_sentence_or_an_annotation_travel(tmp_path: Path) -> None:
    """Each of them keeps its own sentences, between others that have none."""
    records = [ref(1, 7, 3), ref(2, 7, 4, "left", "the left one"), ref(3, 7, 5), ref(4, 7, 6, "right")]
    (tmp_path / HERE).write_bytes(pickle.dumps(records))
    instances = tmp_path / "instances.json"
    instances.write_bytes(orjson.dumps({"annotations": [], "images": [], "categories": []}))
    refer = load_refer(tmp_path / HERE, instances)
    copy = pickle.loads(pickle.dumps(refer))
    assert copy == refer
    assert [len(one.sentences) for one in copy.refs] == [0, 2, 0, 1]
    assert not copy.annotations
    assert not copy.images


def test_an_unreadable_file_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        load_refer(tmp_path / "absent.p", tmp_path / "instances.json")


def test_a_segmentation_is_kept_as_it_was_written_whatever_its_numbers_are() -> None:
    """The surrogate makes the standard library read the file, which knows integers of any size."""
    polygon = [[0.1, 1e-7, 2**70, 3, 123456.789, 5]]
    content = {"info": "\ud800", "annotations": [annotation(3, 7, polygon)], "images": [], "categories": []}
    payload = json.dumps(content).encode()
    annotations, _, _ = parse_instances(payload, HERE, parse_refs(pickle.dumps([ref(1, 7, 3, "x")]), HERE))
    assert annotations[3].segmentation[0][:2] == polygon[0][:2]
    assert annotations[3].segmentation == [[*polygon[0][:2], pytest.approx(2**70), *polygon[0][3:]]]
