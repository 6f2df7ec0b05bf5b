"""Average precision of keypoints by object keypoint similarity (OKS), over any number of workers.

Owns the rows that workers collect, the removal of persons found twice, and the call of COCO's own evaluation
(pycocotools), whose numbers these are: at most 20 persons a picture, crowds and persons without keypoints ignored. The
removal is mmpose's, which published results of ViTPose and its neighbours come from: of two persons of one picture
whose OKS is above 0.9, only the one with the higher score stays.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vpd.tasks.pose.skeleton import KEYPOINTS

NAMES = {"AP": 0, "AP50": 1, "AP75": 2, "AP(M)": 3, "AP(L)": 4, "AR": 5}  # place in COCOeval's results
IMAGE, PERSON, FOUND = 0.0, 1.0, 2.0  # kinds of rows
# A row: kind, image id, then of a person: score (found) or crowd flag, area, number of keypoints, box x, y, w, h
# and 17 times x, y, v. Columns that a kind does not need are 0.
_HEAD = 9
COLUMNS = _HEAD + 3 * KEYPOINTS
PERSON_CATEGORY = 1


class KeypointAp:
    """COCO's keypoint scores.

    The state is float64 `[n, COLUMNS]`, a row for each picture, each annotated person and each found one; states are
    put one after the other.

    Args:
        same_oks: persons of a picture that are more alike than this are one; 1 keeps all.
        state: rows to start from.
    """

    def __init__(self, same_oks: float = 0.9, state: torch.Tensor | None = None) -> None:
        self.same_oks = same_oks
        self._rows = [torch.zeros(0, COLUMNS, dtype=torch.float64) if state is None else state]

    @property
    def state(self) -> torch.Tensor:
        """All rows, `[n, COLUMNS]`."""
        if len(self._rows) > 1:
            self._rows = [torch.cat(self._rows)]
        return self._rows[0]

    @property
    def count(self) -> int:
        """Pictures so far."""
        return int((self.state[:, 0] == IMAGE).sum())

    def update(self, image_id: int, persons: Sequence[Mapping[str, Any]], found: Sequence[tuple[float, Any]]) -> None:
        """Count one picture.

        Args:
            image_id: of the picture, unique in the set.
            persons: all annotated ones, as in a record's meta["persons"].
            found: score and keypoints `[17, 3]` (x, y, score; pixels of the picture) of every predicted person.
        """
        rows = [_row(IMAGE, image_id)]
        for person in persons:
            facts = (person["iscrowd"], person["area"], person["num_keypoints"], *person["box_xywh_px"])
            rows.append(_row(PERSON, image_id, facts, person["keypoints"]))
        for score, keypoints in found:
            rows.append(_row(FOUND, image_id, (score,), np.asarray(keypoints).ravel()))
        self._rows.append(torch.from_numpy(np.stack(rows)))

    def joined(self, states: Sequence[torch.Tensor]) -> KeypointAp:
        """The same scores over the rows of several states."""
        return KeypointAp(self.same_oks, torch.cat([state.cpu() for state in states]))

    def compute(self) -> dict[str, float]:
        """Scores in 0..1; nan where no person to find is of the size; all 0 if there are some and none was found."""
        rows = self.state.cpu().numpy()
        persons, found = rows[rows[:, 0] == PERSON], self.results()
        to_find = (persons[:, 2] == 0) & (persons[:, 4] > 0)
        if not to_find.any() or not found:  # pycocotools cannot load an empty list
            return dict.fromkeys(NAMES, 0.0 if to_find.any() else math.nan)
        ids = sorted({int(i) for i in rows[:, 1]})
        stats = _coco_stats(ids, [_annotation(row, number) for number, row in enumerate(persons, start=1)], found)
        return {name: float("nan") if stats[place] == -1 else float(stats[place]) for name, place in NAMES.items()}

    def results(self) -> list[dict[str, Any]]:
        """The persons found, without those found twice, in COCO's results form."""
        rows = self.state.cpu().numpy()
        found = rows[rows[:, 0] == FOUND]
        kept: list[np.ndarray] = []
        for image in np.unique(found[:, 1]):
            kept += _distinct(found[found[:, 1] == image], self.same_oks)
        return [_result(row) for row in kept]


def oks(keypoints: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Similarity of one person's points `[17, 2]` to others' `[P, 17, 2]`, `[P]` in 0..1, all keypoints counted alike.

    Areas are those of the rectangles around the points, as pycocotools takes them for results; mmpose takes the crops'.
    """
    areas = [np.ptp(points[..., 0], axis=-1) * np.ptp(points[..., 1], axis=-1) for points in (keypoints, others)]
    area = (areas[0] + areas[1]) / 2 + np.spacing(1)  # [P]
    distance = ((others - keypoints) ** 2).sum(axis=-1)  # [P, 17]
    return np.exp(-distance / (2 * _sigmas()) ** 2 / area[:, None] / 2).mean(axis=1)


def _distinct(found: np.ndarray, same_oks: float) -> list[np.ndarray]:
    """The rows of one picture that stay, highest score first."""
    left = found[np.argsort(-found[:, 2], kind="stable")]
    kept: list[np.ndarray] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        points = [rows[..., _HEAD:].reshape(*rows.shape[:-1], KEYPOINTS, 3)[..., :2] for rows in (best, left)]
        left = left[oks(points[0], points[1]) <= same_oks]
    return kept


def _row(kind: float, image_id: int, facts: Sequence[float] = (), keypoints: Any = ()) -> np.ndarray:
    row = np.zeros(COLUMNS)
    row[:2] = kind, image_id
    row[2 : 2 + len(facts)] = facts
    row[_HEAD : _HEAD + len(keypoints)] = keypoints
    return row


def _annotation(row: np.ndarray, number: int) -> dict[str, Any]:
    return {
        "id": number,  # COCO's evaluation takes 0 for "none"
        "image_id": int(row[1]),
        "category_id": PERSON_CATEGORY,
        "iscrowd": int(row[2]),
        "area": row[3],
        "num_keypoints": int(row[4]),
        "bbox": row[5:9].tolist(),
        "keypoints": row[_HEAD:].tolist(),
    }


def _result(row: np.ndarray) -> dict[str, Any]:
    keypoints = row[_HEAD:].tolist()
    return {"image_id": int(row[1]), "category_id": PERSON_CATEGORY, "keypoints": keypoints, "score": float(row[2])}


def _coco_stats(ids: list[int], annotations: list[dict[str, Any]], results: list[dict[str, Any]]) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth: Any = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i} for i in ids],
            "annotations": annotations,
            "categories": [{"id": PERSON_CATEGORY, "name": "person"}],
        }
        truth.createIndex()
        evaluation: Any = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def _sigmas() -> np.ndarray:
    from pycocotools.cocoeval import Params

    return Params("keypoints").kpt_oks_sigmas
