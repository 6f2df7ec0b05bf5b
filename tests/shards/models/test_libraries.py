"""The collector waits while libraries are imported, and no longer; what they would print is kept back as long."""

from __future__ import annotations

import gc

import pytest

from shards.models.libraries import quietly, undisturbed


def test_nothing_is_collected_meanwhile_however_it_ends() -> None:
    with undisturbed():
        with undisturbed():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), undisturbed():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_somebody_stopped_stays_so() -> None:
    gc.disable()
    try:
        with undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_libraries_talk_again_as_they_did_before() -> None:
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    level = of_transformers.get_verbosity()
    of_diffusers.disable_progress_bar()
    try:
        with quietly():
            assert of_transformers.get_verbosity() == of_transformers.CRITICAL
            assert not of_transformers.is_progress_bar_enabled()
        with pytest.raises(OSError), quietly():
            raise OSError
        assert of_transformers.get_verbosity() == level
        assert of_transformers.is_progress_bar_enabled()
        assert not of_diffusers.is_progress_bar_enabled()
    finally:
        of_diffusers.enable_progress_bar()
