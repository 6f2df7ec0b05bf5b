"""Peers of benchmarks/stream.py that read this project's tars by a server or a description of their own."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch

from benchmarks.peers import SHAPES, Batch, Peer, stacked
from benchmarks.reader import BATCH, FIELDS, write_ours
from shards import ShardSet


class Energon(Peer):
    """Megatron Energon on this project's tars, described by `set energon`; it has its own workers' state."""

    resumes = "savable loader"

    def write(self, samples: int) -> None:
        from shards.upkeep.energon import describe_for_energon

        write_ours(self.folder, samples)
        describe_for_energon(self.folder)

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        return iter(self._loader(workers, epoch))

    def _loader(self, workers: int, epoch: int) -> Any:
        energon: Any = import_module("megatron.energon")

        class Plain(energon.DefaultTaskEncoder):
            decoder = None
            cookers = (energon.Cooker(energon.stateless(lambda sample: sample)),)

            def batch(self, samples: list[Any]) -> Any:
                latents, texts = ([np.load(io.BytesIO(one[f"{name}.npy"])) for one in samples] for name in FIELDS)
                metas = [json.loads(one["meta.json"]) for one in samples]
                return stacked(latents, texts, [one["mask.png"] for one in samples], metas)

        config = energon.WorkerConfig(rank=0, world_size=1, num_workers=workers, seed_offset=epoch)
        data = energon.get_train_dataset(
            self.folder, worker_config=config, batch_size=BATCH, task_encoder=Plain(), shuffle_buffer_size=1000,
            max_samples_per_sequence=100, repeat=False,
        )  # fmt: skip
        return energon.get_savable_loader(data)

    def resume(self, workers: int, samples: int, epoch: int) -> Iterator[Batch]:
        loader = self._loader(workers, epoch)
        began = time.perf_counter()
        for seen, _ in enumerate(loader, 1):
            if seen * BATCH >= samples:
                break
        state = loader.save_state_rank()
        self.before_s, again = time.perf_counter() - began, self._loader(workers, epoch)
        again.restore_state_rank(state)
        return iter(again)


class RayData(Peer):
    """Ray Data on this project's tars; `workers` are its processors, at least one."""

    def write(self, samples: int) -> None:
        write_ours(self.folder, samples)

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        ray: Any = import_module("ray")

        if not ray.is_initialized():
            ray.init(num_cpus=max(1, workers), include_dashboard=False, logging_level="error", log_to_driver=False)
            ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.read_webdataset([str(tar) for tar in self.files()], decoder=None, shuffle="files")
        for batch in rows.iter_batches(batch_size=BATCH, local_shuffle_buffer_size=1000, local_shuffle_seed=epoch):
            latents, texts = ([np.load(io.BytesIO(one)) for one in batch[f"{name}.npy"]] for name in FIELDS)
            yield stacked(latents, texts, batch["mask.png"], map(json.loads, batch["meta.json"]))


class Dali(Peer):
    """NVIDIA DALI's webdataset reader, on processors; `workers` are its threads, at least one. No shuffle over all."""

    HEADER = 128  # bytes of npy header before the array, in every one of these tars

    def write(self, samples: int) -> None:
        write_ours(self.folder, samples)
        shards = ShardSet.open(self.folder)
        extensions = ["latent.npy", "text.npy", "mask.png", "meta.json"]
        for number, shard in enumerate(shards.manifest.shards):
            page = shards.paged.pages([number])[0]
            lines = [f"v1.2 {shard.records}"]
            for record in range(shard.records):
                row = page.row(record)
                words = []
                for extension in extensions:
                    name, codec = extension.split(".")
                    offset, length = row[shards.paged.layout.field(name)][:2].tolist()
                    skip = self.HEADER if codec == "npy" else 0
                    words.append(f"{extension} {offset - skip} {length + skip} {page.key(record)}")
                lines.append(" ".join(words))
            (self.folder / f"{shard.name}.dali").write_text("\n".join(lines) + "\n")

    def batches(self, workers: int, epoch: int) -> Iterator[Batch]:
        dali: Any = import_module("nvidia.dali")

        tars = self.files()

        @dali.pipeline_def(batch_size=BATCH, num_threads=max(1, workers), device_id=None, seed=epoch + 1)
        def pipe() -> Any:
            read: Any = dali.fn.readers.webdataset(
                paths=[str(tar) for tar in tars], index_paths=[str(tar.with_suffix(".dali")) for tar in tars],
                ext=["latent.npy", "text.npy", "mask.png", "meta.json"], random_shuffle=True, initial_fill=1000,
                dont_use_mmap=False, name="reader",
            )  # fmt: skip
            return tuple(read)

        built = pipe()
        built.build()
        left = built.epoch_size("reader")
        while left > 0:
            outputs = built.run()
            here = min(left, BATCH)
            left -= here
            tensors = [
                torch.from_numpy(np.array(outputs[place].as_array()[:here, self.HEADER :]).view(np.float16)).reshape(
                    here, *SHAPES[name]
                )
                for place, name in enumerate(FIELDS)
            ]
            masks, metas = ([np.asarray(outputs[place].at(row)).tobytes() for row in range(here)] for place in (2, 3))
            yield tensors[0], tensors[1], masks, [json.loads(meta) for meta in metas]
