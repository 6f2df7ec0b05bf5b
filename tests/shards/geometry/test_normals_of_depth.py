"""Normals of depth: exact where there is a plane, unknown at edges and gaps, and mirrored with the picture."""

from __future__ import annotations

import numpy as np
import pytest

from shards.errors import ConfigError, SchemaMismatch
from shards.geometry.normals import NormalsOf, mirrored

HEIGHT, WIDTH = 24, 32
CAMERA = (30.0, 28.0, 15.0, 11.0)  # fx, fy, cx, cy


def plane_m(normal: tuple[float, float, float], camera: tuple[float, ...] = CAMERA, away_m: float = 2.0) -> np.ndarray:
    """Depth of the plane that is `away_m` from the camera along its normal: rays are cut with it, one by one."""
    fx, fy, cx, cy = camera
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(columns - cx) / fx, -(rows - cy) / fy, -np.ones((HEIGHT, WIDTH))], axis=-1)  # right, up, back
    unit = np.array(normal) / np.linalg.norm(normal)
    depth = -away_m / (rays @ unit)
    return np.where(depth > 0, depth, 0).astype(np.float32)


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.3, 0, 1), (0, 0.6, 1), (-0.4, -0.3, 1), (0.5, 0.2, 0.9)])
def test_a_plane_has_its_own_normal_everywhere(normal: tuple[float, float, float]) -> None:
    found = NormalsOf(CAMERA, 5, 0.01)(plane_m(normal), "a")
    assert not found[:2].any(), "no whole window at the edge"
    inner = found[2:-2, 2:-2]
    np.testing.assert_allclose(np.linalg.norm(inner, axis=-1), 1, rtol=1e-5)
    expected = np.array(normal) / np.linalg.norm(normal)
    np.testing.assert_allclose(inner, np.broadcast_to(expected, inner.shape), atol=1e-3)


def test_edges_and_what_was_not_measured_have_none() -> None:
    depth_m = plane_m((0, 0, 1))
    depth_m[:, 16:] = 1.0  # something before the wall
    depth_m[10, 6] = 0
    known = NormalsOf(CAMERA, 5, 0.01)(depth_m, "a").any(axis=-1)
    assert not known[2:-2, 14:18].any(), "the window shows both"
    assert not known[8:13, 4:9].any(), "the window shows the gap"
    assert known[14:-2, 2:14].all()
    assert known[2:-2, 18:-2].all()


def test_a_mirrored_picture_has_mirrored_normals() -> None:
    depth_m = plane_m((0.4, 0.1, 1))
    depth_m[4:14, 5:12] = plane_m((-0.5, 0.3, 1), away_m=1.0)[4:14, 5:12]
    fx, fy, cx, cy = CAMERA
    found = NormalsOf((fx, fy, WIDTH - 1 - cx, cy), 3, 0.01)(depth_m[:, ::-1], "a")
    straight = NormalsOf(CAMERA, 3, 0.01)(depth_m, "a")
    assert np.abs(straight[..., 0]).max() > 0.3
    expected = np.moveaxis(mirrored(np.moveaxis(straight[:, ::-1], 2, 0)), 0, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (((30.0, 28.0, 15.0), 5, 0.01), r"expected the camera's \[fx, fy, cx, cy\]"),
        (((30.0, -28.0, 15.0, 11.0), 5, 0.01), "each above 0"),
        ((CAMERA, 4, 0.01), "window_px is 4"),
        ((CAMERA, 5, 0.0), "tolerance 0"),
    ],
)
def test_what_is_no_camera_or_window_is_refused(options: tuple, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NormalsOf(*options)


def test_a_camera_or_a_window_of_larger_pictures_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="record a: its depth has 24 x 32 pixels, and no window of 25 fits in"):
        NormalsOf(CAMERA, 25, 0.01)(plane_m((0, 0, 1)), "a")
    with pytest.raises(SchemaMismatch, match=r"record a: its depth has 24 x 32 pixels, and the camera's centre is at"):
        NormalsOf((518.858, 519.470, 325.582, 253.736), 5, 0.01)(plane_m((0, 0, 1)), "a")
