"""A DataLoader over a `SetStream` whose state is exact, with any number of workers.

Owns what a DataLoader does not: it counts what the loop has been handed, not what workers have read ahead, so a state
saved between two batches goes on with the next one, on any number of ranks and workers; and it goes from pass to pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from diffusion_perception.torch_data.streamed import SetStream
from shards.errors import ConfigError


class SetLoader(DataLoader[dict[str, Any]]):
    """Batches of a stream.

    Args:
        dataset: what is read; its passes follow each other, a loop each.
        options: of `torch.utils.data.DataLoader`, such as `num_workers` and `pin_memory`.

    Raises:
        ConfigError: options that are the dataset's, or `persistent_workers`, which would not hear of a loaded state.
    """

    def __init__(self, dataset: SetStream, **options: Any) -> None:
        taken = {"batch_size", "sampler", "batch_sampler", "shuffle", "drop_last", "collate_fn"} & options.keys()
        if taken:
            raise ConfigError(f"{', '.join(sorted(taken))}: what batches are is the dataset's; set it there")
        if options.get("persistent_workers"):
            raise ConfigError("persistent_workers=True: workers would not hear of load_state_dict and set_epoch")
        super().__init__(dataset, batch_size=None, collate_fn=_as_it_is, **options)
        self._stream = dataset

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for batch in super().__iter__():
            self._stream.reached(batch["next_position"])
            yield batch
        if self.num_workers:  # else the dataset itself has done so
            self._stream.finish_pass()

    def set_epoch(self, epoch: int) -> None:
        """See `SetStream.set_epoch`."""
        self._stream.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the next loop."""
        self._stream.load_state_dict(state)


def _as_it_is(batch: Any) -> Any:
    """What torch does by default looks for arrays in every key of a batch, where there are none."""
    return batch
