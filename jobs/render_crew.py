"""Render workers as an encoder actor sees them: asked for a few records at a time, never for many ahead.

A piece of work goes to the worker with the fewest. One that dies or is not reached fails nothing: what it was asked for
goes to another, and Ray starts it again. Owns this; what a worker does is `jobs.render_actor`'s.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_perception.building.assignment import Assignment
from pipeline.building.elsewhere import Rendered
from shards.errors import ContractError

PIECE = 4  # records of a call: some ms each, beside about one of the call itself
REST_S, MOST_UNREACHED_S = 2.0, 300.0  # until a worker is asked again, and for how long none may answer


@dataclass
class _Piece:
    keys: Sequence[str]
    worker: int
    answer: Any


class RenderCrew:
    """Used by the threads of one process."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = list(workers)
        self._asked = [0] * len(workers)  # pieces under way
        self._rests_until = [0.0] * len(workers)
        self._lock = threading.Lock()

    def rendered(self, work: Assignment, keys: Sequence[str], ahead: int) -> Generator[Rendered, None, None]:
        """As `pipeline.building.elsewhere.Elsewhere` says.

        Raises:
            ContractError: what a worker was refused, or no worker was reached for `MOST_UNREACHED_S`.
        """
        size = min(PIECE, max(ahead, 1))
        todo = deque(keys[first : first + size] for first in range(0, len(keys), size))
        under_way: deque[_Piece] = deque()
        try:
            while todo or under_way:
                while todo and (not under_way or (len(under_way) + 1) * size <= ahead):
                    under_way.append(self._begun(work, todo.popleft()))
                yield from self._finished(work, under_way)
        finally:
            for piece in under_way:  # what they make is dropped with the last who refers to it
                self._done(piece)

    def _begun(self, work: Assignment, keys: Sequence[str]) -> _Piece:
        with self._lock:
            now = time.monotonic()
            worker = min(
                range(len(self._workers)), key=lambda one: (max(self._rests_until[one] - now, 0.0), self._asked[one])
            )
            self._asked[worker] += 1
            rest_s = self._rests_until[worker] - now
        if rest_s > 0:  # all of them rest
            time.sleep(rest_s)
        return _Piece(keys, worker, self._workers[worker].render.remote(work, keys))

    def _done(self, piece: _Piece) -> None:
        with self._lock:
            self._asked[piece.worker] -= 1

    def _finished(self, work: Assignment, under_way: deque[_Piece]) -> list[Rendered]:
        """The first of the pieces under way, from whichever worker in the end."""
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

        since: float | None = None  # it was lost for the first time
        while True:
            piece = under_way[0]
            try:
                found = ray.get(piece.answer)
            except RayTaskError as error:
                raise (error.cause or error) from None
            except (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError) as error:
                self._lost(piece)
                since = time.monotonic() if since is None else since
                if time.monotonic() - since > MOST_UNREACHED_S:
                    raise ContractError(
                        f"no render worker was reached for {MOST_UNREACHED_S:g} s ({error}); look at their nodes, or "
                        "build with resources.render_workers=0"
                    ) from error
                under_way[0] = self._begun(work, piece.keys)
                self._done(piece)
                continue
            self._done(under_way.popleft())
            return found

    def _lost(self, piece: _Piece) -> None:
        now = time.monotonic()
        with self._lock:
            is_news = self._rests_until[piece.worker] <= now
            self._rests_until[piece.worker] = now + REST_S
        if is_news:
            print("[build] a render worker was lost; its records are rendered again by others", flush=True)
