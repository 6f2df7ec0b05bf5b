"""Peers of benchmarks/stream.py that have a form of their own, into which the payload is written."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import Batch, Peer, of_bytes, stacked
from benchmarks.reader import BATCH, FIELDS, records


class Mosaic(Peer):
    """mosaicml-streaming, MDS."""

    resumes = "state_dict"

    def write(self, samples: int) -> None:
        streaming: Any = import_module("streaming")

        columns = {"latent": "ndarray:float16:1,4,64,64", "text": "ndarray:float16:1,40,768"}
        columns |= {"mask": "bytes", "meta": "json"}
        with streaming.MDSWriter(
            out=str(self.folder), columns=columns, size_limit=1 << 26, hashes=["xxh3_64"]
        ) as writer:
            for record in records(samples):
                writer.write(dict(record.values))

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.mds"))

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return self.resume(workers, 0, epoch)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        streaming: Any = import_module("streaming")

        data = streaming.StreamingDataset(
            local=str(self.folder), shuffle=True, shuffle_seed=1, batch_size=BATCH, num_canonical_nodes=1,
            validate_hash="xxh3_64",
        )  # fmt: skip
        names = ("latent", "text", "mask", "meta")
        loader = streaming.StreamingDataLoader(
            data, batch_size=BATCH, num_workers=workers,
            collate_fn=lambda rows: stacked(*([row[name] for row in rows] for name in names)),
        )  # fmt: skip
        if samples:
            loader.load_state_dict(data.state_dict(samples, from_beginning=False))
        return iter(loader)


class LitData(Peer):
    """litdata's optimised chunks."""

    resumes = "state_dict"

    def write(self, samples: int) -> None:
        written: Any = import_module("litdata.streaming.writer")

        self.folder.mkdir(parents=True)
        writer = written.BinaryWriter(str(self.folder), chunk_bytes="64MB")
        for number, record in enumerate(records(samples)):
            values = record.values
            row = {name: torch.from_numpy(np.ascontiguousarray(values[name])) for name in FIELDS}
            writer.add_item(number, {**row, "mask": values["mask"], "meta": json.dumps(values["meta"]).encode()})
        writer.done()
        writer.merge()

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.bin"))

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return iter(self._loader(workers, epoch))

    def _loader(self, workers: int, epoch: int) -> Any:
        litdata: Any = import_module("litdata")

        data = litdata.StreamingDataset(str(self.folder), shuffle=True, seed=epoch + 1)

        def collate(rows: list[dict]) -> Batch:
            latents, texts, masks, metas = ([row[name] for row in rows] for name in (*FIELDS, "mask", "meta"))
            return stacked(latents, texts, masks, [json.loads(bytes(meta)) for meta in metas])

        return litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        loader = self._loader(workers, epoch)
        began = time.perf_counter()
        for seen, _ in enumerate(loader, 1):
            if seen * BATCH >= samples:
                break
        state = loader.state_dict()
        del loader
        self.before_s, again = time.perf_counter() - began, self._loader(workers, epoch)
        again.load_state_dict(state)
        return iter(again)


class HuggingFace(Peer):
    """datasets, arrow on disk, the arrays as raw bytes: quicker than its own array types."""

    resumes = "sampler, by hand"

    def write(self, samples: int) -> None:
        datasets: Any = import_module("datasets")

        def rows() -> Iterator[dict[str, Any]]:
            for record in records(samples):
                values = record.values
                raw = {name: np.ascontiguousarray(values[name]).tobytes() for name in FIELDS}
                yield {**raw, "mask": values["mask"], "meta": json.dumps(values["meta"])}

        types = datasets.Features(
            {name: datasets.Value("large_binary" if name != "meta" else "string") for name in (*FIELDS, "mask", "meta")}
        )
        made = datasets.Dataset.from_generator(rows, features=types, cache_dir=f"{self.folder}-made")
        made.save_to_disk(str(self.folder), max_shard_size="64MB")
        shutil.rmtree(f"{self.folder}-made")

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.arrow"))

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return self.resume(workers, 0, epoch)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        datasets: Any = import_module("datasets")

        data = datasets.load_from_disk(str(self.folder))
        order = np.random.default_rng(epoch).permutation(len(data))[samples:].tolist()

        def collate(rows: list[dict]) -> Batch:
            tensors = [torch.from_numpy(np.stack([of_bytes(name, row[name]) for row in rows])) for name in FIELDS]
            return tensors[0], tensors[1], [row["mask"] for row in rows], [json.loads(row["meta"]) for row in rows]

        loader = torch.utils.data.DataLoader(
            data, batch_size=BATCH, sampler=order, num_workers=workers, collate_fn=collate
        )
        return iter(loader)
