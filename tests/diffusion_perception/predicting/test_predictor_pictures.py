"""What `Predictor` takes for a picture: a file through the one reader, or RGB levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_perception.predicting.picture_record import as_pixels
from shards.errors import Reject


def test_a_file_is_read_as_everywhere_and_an_array_kept(tmp_path: Path) -> None:
    levels = np.array([[65535, 32768]], np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).save(tmp_path / "a.png", exif=exif)
    found = as_pixels(str(tmp_path / "a.png"))
    assert found.tolist() == [[[255] * 3], [[128] * 3]]  # turned, and not clipped
    assert as_pixels(found) is found


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8)])
def test_levels_of_another_type_or_shape_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(Reject, match=r"expected RGB levels as uint8 \[H, W, 3\]"):
        as_pixels(wrong)
