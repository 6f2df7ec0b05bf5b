"""A sheet of captioned pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw


def captioned_grid(
    cells: list[tuple[np.ndarray, str]], columns: int = 4, cell_px: tuple[int, int] = (192, 256)
) -> Image.Image:
    """Pictures side by side, each with its caption below.

    Args:
        cells: (uint8 [H, W, 3], caption).
        columns: pictures a row.
        cell_px: (height, width) each picture is fitted into, keeping its aspect.
    """
    height, width = cell_px
    caption_px = 18
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + caption_px)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (pixels, caption) in enumerate(cells):
        x, y = number % columns * width, number // columns * (height + caption_px)
        picture = Image.fromarray(pixels)
        scale = min(height / picture.height, width / picture.width)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        sheet.paste(picture, (x, y))
        pen.text((x + 3, y + height + 3), caption, fill="black")
    return sheet
