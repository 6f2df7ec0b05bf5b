"""Fixtures of the build side's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.tiny_model import write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with vae/, text_encoder/ and tokenizer/: tiny, random, of the real classes."""
    folder = tmp_path_factory.mktemp("tiny-sd")
    write_model(folder, seed=0)
    return folder
