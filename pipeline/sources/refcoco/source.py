"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions on COCO train2014 photographs.

Origin       lichengunc/refer (UNC) and Google Refexp; photographs and polygons from COCO 2014
Layout       <root>/images/mscoco/images/train2014/COCO_train2014_%012d.jpg
             <root>/{refcoco,refcoco+,refcocog}/{instances.json, refs(<split_by>).p}
Record       one image of a split with all its refs of that split; key = COCO image id in 12 digits
Items        one ref = the run of its sentences; refs keep the order of the file
Licence      see `card`; facts, counts and pitfalls in docs/methods/data_layouts.md#refcoco-family

Owns the layout, the splits and the rejects. Leaves the annotation files to `annotations` and masks to `masks`.
The google splits share images between splits: a record holds the refs of the split asked for, and no others.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.example import Example
from pipeline.files.photos import load_photo
from pipeline.sources.refcoco.annotations import Ref, Refer, load_refer
from pipeline.sources.refs.masks import MASK_RULES, BadSegmentation, area_px
from pipeline.sources.refs.records import UsableRef, example_of
from shards.contract.schema import Field
from shards.errors import ConfigError, Reject, SourceError

IMAGES = "images/mscoco/images/train2014"

# (dataset, split_by) -> split -> published (images, refs, sentences); a sentence total of 0 is not published
PUBLISHED: dict[tuple[str, str], dict[str, tuple[int, int, int]]] = {
    ("refcoco", "unc"): {
        "train": (16994, 42404, 120624),
        "val": (1500, 3811, 10834),
        "testA": (750, 1975, 5657),
        "testB": (750, 1810, 5095),
    },
    ("refcoco", "google"): {"train": (19213, 40000, 0), "val": (4559, 5000, 0), "test": (4527, 5000, 0)},
    ("refcoco+", "unc"): {
        "train": (16992, 42278, 120191),
        "val": (1500, 3805, 10758),
        "testA": (750, 1975, 5726),
        "testB": (750, 1798, 4889),
    },
    ("refcocog", "umd"): {"train": (21899, 42226, 80512), "val": (1300, 2573, 4896), "test": (2600, 5023, 9602)},
    ("refcocog", "google"): {"train": (24698, 44822, 85474), "val": (4650, 5000, 9536)},
}
TITLES = {"refcoco": "RefCOCO", "refcoco+": "RefCOCO+", "refcocog": "RefCOCOg"}


def build(root: str | Path, dataset: str = "refcoco", split_by: str = "unc", mask_rule: str = "union") -> RefcocoSource:
    """The source; nothing is read before the first call of a method.

    Args:
        root: REFER's data folder, with images/mscoco/images/train2014 and a folder for each dataset.
        dataset: refcoco, refcoco+ or refcocog.
        split_by: unc, or for refcocog umd or google.
        mask_rule: pixels of several polygon parts: `union` counts them, `exactly_one`, the published code's, does not.

    Raises:
        SourceError: no such combination; the message lists the valid ones.
    """
    return RefcocoSource(Path(root), dataset, split_by, mask_rule)


class RefcocoSource:
    """A Source (see `pipeline.example`). Thread-safe; pickles as its four options and what it has read of the
    annotation files: the workers of a build do not read them again."""

    travels = True
    name = "refcoco"
    item_axis = "sentence"
    label_fields: tuple[Field, ...] = ()  # masks ride in meta as RLE

    def __init__(self, root: Path, dataset: str, split_by: str, mask_rule: str) -> None:
        if (dataset, split_by) not in PUBLISHED:
            valid = "; ".join(f"dataset={d} split_by={s} ({', '.join(v)})" for (d, s), v in PUBLISHED.items())
            raise SourceError(f"there is no dataset={dataset} with split_by={split_by}. Published: {valid}")
        if mask_rule not in MASK_RULES:
            raise ConfigError(f"mask_rule is {mask_rule!r}; expected one of {', '.join(MASK_RULES)}")
        self.root, self.dataset, self.split_by, self.mask_rule = root, dataset, split_by, mask_rule
        self.splits = tuple(PUBLISHED[dataset, split_by])
        self._lock = Lock()
        self._loaded: Refer | None = None
        self._refs_by_key: dict[str, dict[str, list[Ref]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made of the rest, and the lock; a derived class travels with what it adds."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_refs_by_key")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock, self._refs_by_key = Lock(), {}

    def keys(self, split: str) -> list[str]:
        """Twelve-digit image ids, ascending."""
        return list(self._split(split))

    def load(self, split: str, key: str) -> Example:
        """A ref is left out whose annotation is missing or on another image, whose mask is empty or cannot be drawn, or
        that has no sentence.

        Reject: no ref is left, the image is not listed, or its JPEG is missing, damaged or not of the annotated size.
        """
        refs_by_key = self._split(split)
        if key not in refs_by_key:
            raise SourceError(
                f"{self._refs_path}: split {split} has no image {key!r}; keys look like {min(refs_by_key)}"
            )
        refer, refs = self._refer(), refs_by_key[key]
        entry = refer.images.get(refs[0].image_id)
        if entry is None:
            raise Reject(
                f"ref {refs[0].ref_id} points to image {refs[0].image_id}, which {self._instances_path} does not list"
            )
        usable, left_out = [], []
        for ref in refs:
            try:
                usable.append(self._usable(refer, ref))
            except Reject as reject:
                left_out.append(str(reject))
        if not usable:
            raise Reject("; ".join(left_out))
        image = load_photo(self.root / IMAGES / entry.file_name, (entry.height, entry.width), entry.image_id)
        file = {"image_id": entry.image_id, "file_name": entry.file_name}
        return example_of(key, image, file, usable, left_out)

    def files_of(self, split: str, key: str) -> dict[str, Path] | None:
        """The photograph; its refs are in files of all."""
        entry = self._refer().images.get(self._split(split)[key][0].image_id)
        return None if entry is None else {entry.file_name: self.root / IMAGES / entry.file_name}

    def identity(self, split: str) -> dict[str, Any]:
        """Options and annotation hashes. The photographs are not hashed: they are named and sized by instances.json."""
        self._split(split)
        return {
            "name": self.name,
            "dataset": self.dataset,
            "split_by": self.split_by,
            "split": split,
            "mask_rule": self.mask_rule,
            "sha256": dict(self._refer().sha256),
        }

    def counts(self, split: str) -> dict[str, int]:
        groups = self._split(split).values()
        refs = [ref for group in groups for ref in group]
        return {"images": len(groups), "refs": len(refs), "sentences": sum(len(ref.sentences) for ref in refs)}

    def notices(self, split: str) -> list[str]:
        """Sentences without a word: they are kept, as published."""
        refs = [ref for group in self._split(split).values() for ref in group]
        empty = [ref.ref_id for ref in refs for sentence in ref.sentences if not sentence.sent.strip()]
        return [f"{len(empty)} empty sentences, such as of ref {empty[0]}, which are kept"] if empty else []

    def card(self) -> dict[str, Any]:
        text_licence = (
            "CC BY 4.0"
            if self.dataset == "refcocog"
            else "none stated by the authors (the code of lichengunc/refer is Apache-2.0)"
        )
        return {
            "title": f"{TITLES[self.dataset]} ({self.split_by} splits)",
            "origin": "Referring expressions on COCO train2014 photographs, in the layout of lichengunc/refer.",
            "licence": f"Expressions: {text_licence}. COCO annotations: CC BY 4.0. Photographs: each under the Flickr "
            "licence named in instances.json, many of them non-commercial or without derivatives.",
            "terms": "COCO does not own the photographs; their use must follow the Flickr terms of use. Expressions "
            "are uncleaned text by players and crowd workers and contain rude descriptions of people.",
            "url": "https://github.com/lichengunc/refer",
            "splits": {
                split: {
                    name: count for name, count in zip(("images", "refs", "sentences"), published, strict=True) if count
                }
                for split, published in PUBLISHED[self.dataset, self.split_by].items()
            },
        }

    @property
    def _refs_path(self) -> Path:
        return self.root / self.dataset / f"refs({self.split_by}).p"

    @property
    def _instances_path(self) -> Path:
        return self.root / self.dataset / "instances.json"

    def _refer(self) -> Refer:
        with self._lock:
            if self._loaded is None:
                self._check_layout()
                self._loaded = load_refer(self._refs_path, self._instances_path)
            return self._loaded

    def _split(self, split: str) -> dict[str, list[Ref]]:
        """Refs of a split by record key, in record order."""
        if split not in self.splits:
            raise SourceError(
                f"{self.dataset} ({self.split_by}) has no split {split!r}; expected one of {', '.join(self.splits)}"
            )
        refer = self._refer()
        with self._lock:
            if split not in self._refs_by_key:
                refs = refer.refs_of(split)
                if not refs:
                    raise SourceError(
                        f"{self._refs_path}: none of its {len(refer.refs)} refs belongs to the split {split!r}; found "
                        f"the splits {', '.join(refer.splits)}. Check that the file is the {self.split_by} one."
                    )
                groups: dict[str, list[Ref]] = {}
                for ref in sorted(refs, key=lambda ref: ref.image_id):  # stable: file order inside an image
                    groups.setdefault(f"{ref.image_id:012d}", []).append(ref)
                self._refs_by_key[split] = groups
            return self._refs_by_key[split]

    def _check_layout(self) -> None:
        wanted = [self._refs_path, self._instances_path, self.root / IMAGES]
        missing = [str(path.relative_to(self.root)) for path in wanted if not path.exists()]
        if not missing:
            return
        if (self.root / "instances.json").exists():
            advice = f"This looks like the folder of one dataset: pass its parent, {self.root.parent}."
        else:
            advice = "Put the files there, or link them, as lichengunc/refer lays them out."
        raise SourceError(
            f"{self.root}: is not a REFER data folder; missing {', '.join(missing)}. Found: {_entries(self.root)}. "
            f"Expected {self.dataset}/refs({self.split_by}).p, {self.dataset}/instances.json and "
            f"{IMAGES}/COCO_train2014_*.jpg. {advice}"
        )

    def _usable(self, refer: Refer, ref: Ref) -> UsableRef:
        if not ref.sentences:
            raise Reject(f"ref {ref.ref_id} of image {ref.image_id} has no sentences in {self._refs_path}")
        who = f"ref {ref.ref_id} of image {ref.image_id}: annotation {ref.ann_id}"
        annotation = refer.annotations.get(ref.ann_id)
        if annotation is None:
            raise Reject(f"{who} is not in {self._instances_path}")
        if annotation.image_id != ref.image_id:
            raise Reject(f"{who} lies in image {annotation.image_id} according to {self._instances_path}")
        try:
            rle = refer.mask(ref, self.mask_rule)
        except BadSegmentation as error:
            raise Reject(f"{who} in {self._instances_path}: {error}") from error
        if area_px(rle) == 0:
            raise Reject(f"{who} in {self._instances_path} gives an empty mask (rule {self.mask_rule})")
        meta = {
            "ref_id": ref.ref_id,
            "ann_id": ref.ann_id,
            "category_id": ref.category_id,
            "split": ref.split,
            "sent_ids": [sentence.sent_id for sentence in ref.sentences],
        }
        return UsableRef(tuple(sentence.sent for sentence in ref.sentences), rle, meta)


def _entries(folder: Path, limit: int = 8) -> str:
    if not folder.is_dir():
        return "no such folder"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "an empty folder") + more
