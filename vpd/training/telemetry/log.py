"""Where a run's numbers go: one console line, one JSON line, TensorBoard, and a tracker if there is one.

Owns the format of `log.jsonl` (one object a line: `step`, `epoch`, then the values, null for one that is not finite)
and keeps it consistent with the checkpoint a run resumes from: lines past the resumed step are dropped, so the file
reads as one uninterrupted run. A disk that is full stops nothing: lines wait (`vpd.training.telemetry.lines`). Which
values are logged, and when, is left to `vpd.training.run`. Only rank 0 owns a RunLog.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue] - generated
from torch.utils.tensorboard import SummaryWriter

from shards.errors import ConfigError
from shards.progress import duration
from shards.storage.atomic import sweep, write_atomic
from vpd.training.telemetry.board import PICTURES
from vpd.training.telemetry.lines import Lines
from vpd.training.telemetry.mirror import Mirror
from vpd.training.trackers import Tracker

LOG = "log.jsonl"


def format_value(value: float) -> str:
    """Short and readable: counts as integers, tiny and huge values in scientific form."""
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.2e}"


def step_line(step: int, values: Mapping[str, float], prefix: str, total: int, left_s: float | None) -> str:
    """`[train] step 20/200  loss 0.4  lr 1e-4  3 min 20 s left`, without a time that is not known."""
    words = [f"[{prefix}] step {step}{f'/{total}' if total else ''}"]
    words += [f"{key} {format_value(value)}" for key, value in values.items()]
    return "  ".join(words + ([] if left_s is None else [f"{duration(left_s)} left"]))


class RunLog:
    """Writes to `<folder>/log.jsonl` and `<folder>/tensorboard`, and prints.

    Args:
        folder: of the run, made if absent; behind a URL it is a copy of a local one (`vpd.training.telemetry.mirror`).
        resume_step: lines with a later step, left by a run killed after its last checkpoint, are dropped.
    """

    def __init__(self, folder: str | Path, resume_step: int = 0, echo: Callable[[str], None] = print) -> None:
        self._echo = echo
        self._mirror = Mirror(str(folder), (LOG,), echo) if "://" in str(folder) else None
        local = self._mirror.folder if self._mirror else Path(folder)
        self.path, self._board_folder = local / LOG, str(local / "tensorboard")
        self.folder = self.path.parent  # on this machine; what is put there comes to the run's
        self.folder.mkdir(parents=True, exist_ok=True)
        self._board: SummaryWriter | None = None
        self._tracker: Tracker | None = None
        self._refused = False
        self._open(resume_step)

    def _open(self, step: int) -> None:
        self.begun_at = step
        self._drop_after(step)
        self._lines = Lines(self.path)
        self._draw({}, step + 1)

    def track(self, tracker: Tracker) -> None:
        """Tell a tracker everything from now on, and close it with the log."""
        self._tracker = tracker

    def rewind(self, step: int) -> None:
        """Drop what is later than a step, which the run goes back to."""
        self._close_files()
        self._open(step)

    def _drop_after(self, step: int) -> None:
        sweep(self.path.parent)
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise ConfigError(f"{self.path}: is no file, expected the run's log. Take it away, or name another run.")
        kept, text = [], self.path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                later = json.loads(line)["step"] > step
            except (ValueError, KeyError, TypeError):  # the last line of a killed run can be cut short
                continue
            if not later:
                kept.append(line)
        if text != (text := "".join(line + "\n" for line in kept)):
            write_atomic(self.path, text.encode())

    def write(
        self,
        step: int,
        values: Mapping[str, float],
        prefix: str = "train",
        total: int = 0,
        left_s: float | None = None,
        unsaid: Mapping[str, float] | None = None,
    ) -> None:
        """Record `values` of `step` everywhere; keys become `<prefix>/<key>` in TensorBoard. The time left is said and
        not kept, what is `unsaid` kept alone."""
        said, values = values, {**values, **(unsaid or {})}
        known = {key: value if math.isfinite(value) else None for key, value in values.items()}  # JSON has no NaN
        entry = {"step": step, "kind": prefix, "time_s": round(time.time(), 3), **known}
        try:
            self._lines.add(json.dumps(entry))
            self._refused = False
        except OSError as error:
            if not self._refused:
                self._echo(f"{self.path} could not be written, {type(error).__name__}: {error}; its lines wait")
            self._refused = True
        self._draw({f"{prefix}/{key}": value for key, value in values.items()}, step)
        self._tell(lambda tracker: tracker.log(prefix, step, {k: v for k, v in known.items() if v is not None}))
        self._echo(step_line(step, said, prefix, total, left_s))
        if self._mirror:
            self._mirror.push_if_due()

    def show(self, step: int, name: str, jpeg: bytes) -> None:
        """A picture for TensorBoard, which keeps those of one name side by side."""
        self._tell(lambda tracker: tracker.show(step, name, jpeg))
        width, height = Image.open(io.BytesIO(jpeg)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=jpeg)
        with suppress(OSError):  # a full disk: as with curves
            self._board = self._board or SummaryWriter(self._board_folder, purge_step=step)
            if self._board.file_writer:
                summary = Summary(value=[Summary.Value(tag=f"{PICTURES}{name}", image=image)])
                self._board.file_writer.add_summary(summary, step)

    def say(self, text: str) -> None:
        """A console line that is not a measurement."""
        self._echo(text)

    def bring_to_safety(self) -> None:
        """What is written so far is where the run's checkpoints are.

        Raises:
            OSError: there is no room for it.
        """
        self._lines.bring_to_safety()
        if self._mirror:
            if self._board:
                with suppress(OSError):  # a curve may have a gap
                    self._board.flush()
            self._mirror.push()

    def close(self) -> None:
        self._close_files()
        self._tell(lambda tracker: tracker.close())
        if self._mirror:
            self._mirror.close()

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            what(self._tracker)
        except Exception as error:  # of somebody else's program and network, which no training ends for
            self._tracker = None
            self._echo(f"run.track is told no more, {type(error).__name__}: {error}; log.jsonl has all")

    def _draw(self, values: Mapping[str, float], step: int) -> None:
        """Points of TensorBoard's curves, which have a gap where the disk is full; the lines have none."""
        try:
            self._board = self._board or SummaryWriter(self._board_folder, purge_step=step)
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        except OSError:
            self._close_board()  # its thread has ended; another one is begun at the next step

    def _close_files(self) -> None:
        try:
            self._lines.close()
        except OSError as error:
            self._echo(f"{self.path} lacks its last lines, {type(error).__name__}: {error}")
        self._close_board()

    def _close_board(self) -> None:
        board, self._board = self._board, None
        if board:
            with suppress(OSError):
                board.close()
