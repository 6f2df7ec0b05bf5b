"""Readers that benchmarks/stream.py compares: for each, how the payload is written, and how a loop reads it.

One class a reader, with the settings that its documentation recommends for this payload; whoever finds better ones is
invited to change them. A batch is 32 samples: latents and texts as stacked torch tensors, masks as bytes, metas parsed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from benchmarks.reader import BATCH, FIELDS, write_ours
from shards import Sample
from shards.reading.labelling import Room

Batch = tuple[torch.Tensor, torch.Tensor, list[bytes], list[dict]]
SHAPES = {"latent": (1, 4, 64, 64), "text": (1, 40, 768)}


def stacked(latents: Iterable[Any], texts: Iterable[Any], masks: Iterable[Any], metas: Iterable[Any]) -> Batch:
    """A batch of samples that came one by one, as arrays."""
    tensors = [torch.stack([torch.as_tensor(one) for one in many]) for many in (latents, texts)]
    return tensors[0], tensors[1], [bytes(one) for one in masks], list(metas)


def of_bytes(name: str, payload: Any) -> np.ndarray:
    """A field from its array's bytes."""
    return np.frombuffer(payload, np.float16).reshape(SHAPES[name])


class Peer:
    """A reader. Imports its library when it is asked to write or read."""

    resumes: ClassVar[str] = ""  # how, in its own words; "" where it cannot

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before_s = 0.0  # of `resume`: reading up to the state, which is no part of resuming

    def write(self, samples: int) -> None:
        """The payload in the reader's own form."""
        raise NotImplementedError

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        """A shuffled epoch."""
        raise NotImplementedError

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        """The same from behind so many samples on."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """Those that hold samples, one of which is damaged."""
        return sorted(self.folder.glob("*.tar"))


class Ours(Peer):
    """This project's stream; every row and every meta is hashed."""

    resumes = "state: a number"
    threads: ClassVar[int] = 0

    def write(self, samples: int) -> None:
        write_ours(self.folder, samples)

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return self._read(workers, epoch, 0)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        return self._read(workers, epoch, samples)

    def _read(self, workers: int, epoch: int, done: int) -> Iterator[Batch]:
        from diffusion_perception import SetLoader, SetStream

        rest: dict[int, tuple[bytes, dict]] = {}

        def labels(samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
            for sample in samples:
                rest[sample.position] = (bytes(sample.payload("mask")), sample.meta)
            return {}

        how: dict[str, Any] = {"labels": Rest()} if workers else {"batch_labels": labels}
        stream = SetStream(
            self.folder, BATCH, FIELDS, **how, seed=1, threads=self.threads,
            reuse_buffers=not workers, whole_batches=False,
        )  # fmt: skip
        n_items = stream.shards.n_items
        stream.load_state_dict({**stream.state_dict(), "position": epoch * n_items + done})
        for batch in SetLoader(stream, num_workers=workers):
            if workers:
                pairs = Rest.opened(batch["rest"].numpy())
            else:
                first = batch["next_position"] - len(batch["key"])
                pairs = [rest.pop(first + place) for place in range(len(batch["key"]))]
            yield batch["latent"], batch["text"], [mask for mask, _ in pairs], [meta for _, meta in pairs]


class Rest:
    """Mask and meta of a sample as one array, for batches that cross to another process."""

    ROOM = 8192

    def __call__(self, sample: Sample) -> dict[str, np.ndarray]:
        payload, meta = bytes(sample.payload("mask")), bytes(sample.payload("meta"))
        row = np.zeros(self.ROOM, np.uint8)
        row[:8] = np.array([len(payload), len(meta)], np.uint32).view(np.uint8)
        row[8 : 8 + len(payload) + len(meta)] = np.frombuffer(payload + meta, np.uint8)
        return {"rest": row}

    @staticmethod
    def opened(rows: np.ndarray) -> list[tuple[bytes, dict]]:
        """What the rows hold."""
        found = []
        for row in rows:
            mask, meta = row[:8].view(np.uint32).tolist()
            found.append((row[8 : 8 + mask].tobytes(), json.loads(row[8 + mask : 8 + mask + meta].tobytes())))
        return found


class OursThreads(Ours):
    """The same, read ahead by two threads."""

    threads = 2


class WebDataset(Peer):
    """webdataset on this project's tars, which cost it less than those of its own writer."""

    def write(self, samples: int) -> None:
        write_ours(self.folder, samples)

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        wds: Any = import_module("webdataset")

        tars = [str(tar) for tar in self.files()]
        data = wds.WebDataset(tars, shardshuffle=len(tars), seed=epoch, nodesplitter=None).shuffle(1000).decode()
        named = data.to_tuple("latent.npy", "text.npy", "mask.png", "meta.json")
        batched: Any = named.batched(BATCH, collation_fn=lambda rows: stacked(*zip(*rows, strict=True)))
        return iter(wds.WebLoader(batched, batch_size=None, num_workers=workers) if workers else batched)


class Wids(Peer):
    """Random access of webdataset's authors, with their sampler that stays near."""

    resumes = "sampler, by hand"

    def write(self, samples: int) -> None:
        write_ours(self.folder, samples)

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return self.resume(workers, 0, epoch)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        wids: Any = import_module("wids")

        data = wids.ShardListDataset(
            str(self.folder / "wids.json"), base=str(self.folder), cache_dir=f"{self.folder}-cache", keep=True
        )
        order = list(wids.ChunkedSampler(data, chunksize=512, shuffle=True, seed=epoch))[samples:]

        def collate(rows: list[dict]) -> Batch:
            names = (".latent.npy", ".text.npy", ".mask.png", ".meta.json")
            latents, texts, masks, metas = ([row[name] for row in rows] for name in names)
            return stacked(latents, texts, [_raw(mask) for mask in masks], metas)

        loader = torch.utils.data.DataLoader(
            data, batch_size=BATCH, sampler=order, num_workers=workers, collate_fn=collate
        )
        return iter(loader)


def _raw(value: Any) -> bytes:
    return value.tobytes() if hasattr(value, "tobytes") else value.getvalue() if hasattr(value, "getvalue") else value
