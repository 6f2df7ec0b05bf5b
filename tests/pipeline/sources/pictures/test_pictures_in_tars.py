"""Pictures in tars: which are records, their captions, what is said of tars before a build, and what follows a change.

A set built of tars has the latents and sentences of one built of the same pictures as files, from a folder and from a
bucket, and is brought up to date by what changed inside of them.
"""

from __future__ import annotations

import json
import pickle
import tarfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from webdataset.writer import TarWriter

from pipeline.files.tars.reading import TarReader
from pipeline.sources.pictures import PicturesInTars, build
from pipeline.views import exact
from shards.errors import ConfigError, Reject, SourceError
from shards.reading.reader import ShardSet
from shards.storage.store import Store
from tests.pipeline.tar_files import jpeg, write_tar
from tests.pipeline.toys import SETTINGS, Build, ToyText, ToyVae
from tests.s3_server import BUCKET, S3Server

KEYS = [f"{number:05d}{sample:04d}" for number in range(3) for sample in range(4)]


def members(keys: list[str], changed: str = "") -> dict[str, bytes]:
    """What img2dataset writes."""
    found: dict[str, bytes] = {}
    for key in keys:
        caption = f"picture {key}"
        about = {"caption": [caption, "again"], "url": "https://home/x", "status": "success", "exif": "GPS"}
        found[f"{key}.jpg"] = jpeg(int(key[-4:]) * 9 + int(key[:5]) + (100 if key == changed else 0), (16, 24))
        found[f"{key}.json"] = json.dumps(about).encode()
        found[f"{key}.txt"] = caption.encode()
    return found


def write_world(root: Path, changed: str = "") -> Path:
    for number in range(3):
        keys = [key for key in KEYS if int(key[:5]) == number]
        write_tar(root / f"train/{number:05d}.tar", members(keys, changed))
    return root


def source_of(root: Path | str, indexes: Path, **options: Any) -> PicturesInTars:
    made = build(str(root), **{"tars": "{split}/*.tar", "captions": "txt", "indexes": str(indexes), **options})
    assert isinstance(made, PicturesInTars)
    return made


def test_records_are_in_the_order_of_tars_and_travel_without_being_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(write_world(tmp_path), tmp_path / "indexes")
    assert source.keys("train") == [f"train%2F{key[:5]}%2F{key}" for key in KEYS]
    assert source.counts("train") == {"images": 12, "refs": 12, "sentences": 12}
    with monkeypatch.context() as patched:
        patched.setattr(TarReader, "make_indexes", lambda *_: pytest.fail("was listed again"))
        there = pickle.loads(pickle.dumps(source))
        assert there.identity("train") == source.identity("train")
        example = there.load("train", source.keys("train")[5])
    assert (example.sentences, example.items) == ((f"picture {KEYS[5]}",), ((0, 1),))
    assert example.meta == {"file_name": f"train/00001/{KEYS[5]}", "height": 16, "width": 24}
    assert there.keys("train") == source.keys("train")
    assert len(pickle.dumps(source)) < 3000


def test_captions_are_an_entry_of_the_json_and_nothing_else_of_it_is_stored(tmp_path: Path) -> None:
    source = source_of(write_world(tmp_path), tmp_path / "indexes", captions="json:caption")
    key = source.keys("train")[0]
    assert source.load("train", key).sentences == (f"picture {KEYS[0]}", "again")
    assert source.identity("train")["captions"] == "json:caption"
    read = [inside.read_bytes() for inside in source.files_of("train", key).values()]
    assert read == [members(KEYS[:1])[f"{KEYS[0]}.jpg"], b'["picture 000000000", "again"]']
    folder = tmp_path / "files/train"
    folder.mkdir(parents=True)
    for name, payload in members(KEYS[:1]).items():
        (folder / name).write_bytes(payload)
    beside = build(tmp_path / "files", captions="json:caption")
    assert beside.load("train", KEYS[0]).sentences == source.load("train", key).sentences


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (b'{"caption": null}', "has no caption; missing_caption: empty keeps"),
        (b'{"text": "a"}', "has no caption"),
        (b'{"caption": 3}', r"a\.json: 'caption' is 3; expected text, or a list of texts"),
        (b'["a"]', r"a\.json: is list; expected an object with the key 'caption'"),
        (b"{", r"a\.json: is not valid JSON"),
        (rb'{"caption": "a \ud83d"}', r"a\.json: 'caption' is 'a \\ud83d', which is no text that UTF-8 can hold"),
    ],
)
def test_an_entry_that_is_no_caption_is_a_reject(payload: bytes, match: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "train/0.tar", {"a.jpg": jpeg(), "a.json": payload})
    source = source_of(tmp_path, tmp_path / "indexes", captions="json:caption")
    with pytest.raises(Reject, match=match):
        source.load("train", "train%2F0%2Fa")


def test_what_tars_hold_and_what_will_be_missing_is_said(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(), "a.txt": b"a", "b.jpg": jpeg(), "c.json": b"{}", "d.jpg": b"x" * 5000, "d.txt": b"d"}
    path = write_tar(tmp_path / "train/0.tar", files)
    write_tar(tmp_path / "train/1.tar", {"e.jpg": jpeg(), "e.txt": b"e"})
    write_tar(tmp_path / "train/2.tar", {})  # of a shard in which every download failed
    with tarfile.open(path) as whole:
        at = whole.getmember("d.jpg").offset
    path.write_bytes(path.read_bytes()[: at + 512 * 4])
    source = source_of(tmp_path, tmp_path / "indexes")
    assert [key[-1] for key in source.keys("train")] == ["a", "b", "d", "e"]
    first, *rest = source.notices("train")
    assert first.startswith("3 tars of ")
    assert "hold 4 pictures" in first
    assert rest == [
        "1 samples have no picture and are passed over; they hold .json",
        "2 pictures have no .txt beside them",
        f"1 tars are cut short, such as {path} at byte {at}: what stood behind that is missing; copy them again",
    ]
    with pytest.raises(Reject, match=r"0\.tar: ends inside of d\.jpg; copy it again"):
        source.load("train", "train%2F0%2Fd")
    with pytest.raises(Reject, match=r"picture .*0\.tar: b\.jpg has no caption"):
        source.load("train", "train%2F0%2Fb")


def test_pictures_of_any_suffix_in_folders_inside_and_shares_of_all(tmp_path: Path) -> None:
    names = [f"sub.x/{number}.seg.jpg" for number in range(2)] + [f"sub.x/{number}.JPEG" for number in range(10)]
    write_tar(tmp_path / "all.v1.tar", {name: jpeg() for name in names})
    options: dict[str, Any] = {"tars": "*.tar", "captions": "", "indexes": str(tmp_path / "indexes")}
    source = build(tmp_path, shares={"train": 0.7, "rest": 0.3}, **options)
    keys = {split: source.keys(split) for split in source.splits}
    assert {split: len(found) for split, found in keys.items()} == {"train": 7, "rest": 3}
    assert not set(keys["train"]) & set(keys["rest"])
    assert keys["rest"][0].startswith("all%2Ev1%2Fsub%2Ex%2F")
    assert source.load("rest", keys["rest"][0]).image.shape == (4, 6, 3)
    chosen = build(tmp_path, image_suffix=".seg.jpg", **options)
    assert [key[-1] for key in chosen.keys("train")] == ["0", "1"]
    (tmp_path / "few.txt").write_text("all.v1/sub.x/3\n")
    assert len(build(tmp_path, lists={"few": "few.txt"}, **options).keys("few")) == 1
    with pytest.raises(SourceError, match="split train has no picture 'all%2Ev1%2Fnone'"):
        source.load("train", "all%2Ev1%2Fnone")


def test_names_with_dots_are_no_pictures_and_it_is_said_why(tmp_path: Path) -> None:
    write_tar(tmp_path / "train/0.tar", {"a.2020.jpg": jpeg(), "a.txt": b"a"})
    with pytest.raises(
        SourceError, match=r"no picture in them, \.jpg, .*hold \.2020\.jpg, \.txt: a sample's name ends at"
    ):
        source_of(tmp_path, tmp_path / "indexes").keys("train")


def test_what_a_record_cannot_be_made_of_is_left_out_by_reasons_that_are_always_the_same(tmp_path: Path) -> None:
    """One odd picture of the web ends no build, and two builds of one source have the same bytes."""
    files = {"a.jpg": jpeg(), "a.txt": b"a", "b.jpg": b"none", "b.txt": b"b", "x" * 90 + ".jpg": jpeg()}
    write_tar(tmp_path / "tars/train/0.tar", files)
    source: Any = source_of(tmp_path / "tars", tmp_path / "indexes", missing_caption="empty")
    settings = replace(SETTINGS, max_rejects=0.9)
    for place in ("one", "two"):
        Build(tmp_path / place / "mine", source, ToyVae(), ToyText(), exact.build(16), settings).run()
    first, second = ((tmp_path / place / "mine/manifest.json").read_bytes() for place in ("one", "two"))
    assert first == second
    lines = (tmp_path / "one/mine/rejects.jsonl").read_text().splitlines()
    reasons = [json.loads(line)["reason"] for line in lines]
    assert reasons[0].endswith("0.tar: b.jpg cannot be decoded: its bytes are no picture of a kind that Pillow knows")
    assert reasons[1].startswith("its key, which is made of its name, has 102 characters")
    longest = "y" * (ShardSet.open(tmp_path / "one/mine").manifest.schema.key_characters - len("train%2F0%2F"))
    write_tar(tmp_path / "long/train/0.tar", {f"{longest}.jpg": jpeg(), f"{longest}z.jpg": jpeg()})
    source = source_of(tmp_path / "long", tmp_path / "indexes", missing_caption="empty")
    Build(tmp_path / "long/mine", source, ToyVae(), ToyText(), exact.build(16), settings).run()
    assert [json.loads(line)["key"][-1] for line in (tmp_path / "long/mine/rejects.jsonl").open()] == ["z"]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"a.tar": "x/b", "a/x.tar": "b"}, "a/x/b is a sample of two tars; rename one of them"),
        ({"a.tar": "b", "a.tgz": "c"}, r"a\.tar and a\.tgz have the same name; remove one"),
    ],
)
def test_two_pictures_of_one_name_are_refused(files: dict[str, str], match: str, tmp_path: Path) -> None:
    for name, sample in files.items():
        write_tar(tmp_path / name, {f"{sample}.jpg": jpeg()}, "w:gz" if name.endswith("gz") else "w")
    with pytest.raises(SourceError, match=match):
        source_of(tmp_path, tmp_path / "indexes", tars="**/*.t*").keys("train")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"captions": "m.csv"}, "captions of tars are members beside the pictures; set captions: txt, or json:KEY"),
        ({"captions": "json:"}, "expected txt, json:KEY such as json:caption"),
        ({"tars": ""}, "URLs, storage and indexes are for tars"),
        ({"tars": "../*.tar"}, r"expected a pattern below root"),
        ({"lists": {"train": "few.txt"}}, "lists are files below a folder, and root is s3://b/x; use splits or shares"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        source_of("s3://b/x", tmp_path / "indexes", **options)


def built(source: Any, folder: Path) -> ShardSet:
    Build(folder, source, ToyVae(), ToyText(), exact.build(16)).run()
    return ShardSet.open(folder)


def bytes_of(shards: ShardSet) -> list[tuple[bytes, bytes, bytes, list[str]]]:
    found = [shards.record(number) for number in range(shards.n_records)]
    fields = ("latent", "tokens", "text")
    return [(*(record.array(name).tobytes() for name in fields), record.meta["sentences"]) for record in found]  # type: ignore[misc]


def test_a_set_of_tars_has_the_latents_of_one_of_files(s3_server: S3Server, tmp_path: Path) -> None:
    for name, payload in members(KEYS).items():
        path = tmp_path / "files/train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
    expected = bytes_of(built(build(tmp_path / "files", captions="txt"), tmp_path / "sets/files"))
    assert len(expected) == len({latent for latent, *_ in expected}) == 12
    tars = write_world(tmp_path / "tars")
    (tmp_path / "wds/train").mkdir(parents=True)
    with TarWriter(str(tmp_path / "wds/train/all.tar")) as writer:
        for key in KEYS:
            of = members([key])
            writer.write({"__key__": key, "jpg": of[f"{key}.jpg"], "txt": of[f"{key}.txt"].decode()})
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    for path in tars.rglob("*.tar"):
        Store.open(url, s3_server.options).write(path.relative_to(tars).as_posix(), path.read_bytes())
    plain = {name: value for name, value in s3_server.options.items() if "key" not in name}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", s3_server.options["access_key_id"])
        patched.setenv("AWS_SECRET_ACCESS_KEY", s3_server.options["secret_access_key"])
        for name, root, options in (
            ("tars", tars, {}),
            ("wds", tmp_path / "wds", {}),
            ("url", url, {"storage": plain}),
        ):
            source = source_of(root, tmp_path / "indexes", **options)
            assert bytes_of(built(source, tmp_path / "sets" / name)) == expected, name


@pytest.mark.parametrize(("change", "encoded"), [("nothing", 0), ("touched", 0), ("one picture", 1), ("a caption", 0)])
def test_a_set_follows_what_changes_inside_of_its_tars(change: str, encoded: int, tmp_path: Path) -> None:
    root = write_world(tmp_path / "tars")

    def build_of(place: str) -> Build:
        source: Any = source_of(root, tmp_path / "indexes")
        return Build(tmp_path / place / "mine", source, ToyVae(), ToyText(), exact.build(16))

    build_of("set").run()
    files = members(KEYS[4:8], KEYS[5] if change == "one picture" else "")
    files |= {f"{KEYS[6]}.txt": b"another word"} if change == "a caption" else {}
    if change != "nothing":
        write_tar(root / "train/00001.tar", files, mtime=9)
    again = build_of("set")
    again.run()
    fresh = build_of("fresh")
    fresh.run()
    assert len(again.vae.shapes) == encoded  # type: ignore[attr-defined]
    for path in (tmp_path / "fresh/mine").glob("*"):
        if path.name != "file_times.jsonl":
            assert (tmp_path / "set/mine" / path.name).read_bytes() == path.read_bytes(), path.name
    latents = np.stack([ShardSet.open(again.folder).record(n).array("latent") for n in range(12)])  # type: ignore[arg-type]
    assert len(np.unique(latents.reshape(12, -1), axis=0)) == 12


def test_a_set_that_says_nothing_of_its_members_is_looked_at_once_and_keeps_its_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions built them that did not name the members of tars."""
    source: Any = source_of(write_world(tmp_path / "tars"), tmp_path / "indexes")

    def run(place: str) -> Build:
        build = Build(tmp_path / place / "mine", source, ToyVae(), ToyText(), exact.build(16))
        build.run()
        return build

    with monkeypatch.context() as before:
        before.setattr(PicturesInTars, "files_of", lambda *_: None)
        run("set")
    fresh, again = run("fresh"), run("set")
    assert (len(fresh.vae.shapes), len(again.vae.shapes)) == (6, 0)  # type: ignore[attr-defined]
    for path in (tmp_path / "fresh/mine").glob("*"):
        assert (tmp_path / "set/mine" / path.name).read_bytes() == path.read_bytes(), path.name
    assert not run("set").begin().todo
