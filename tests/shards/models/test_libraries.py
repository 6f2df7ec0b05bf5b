"""The collector waits while libraries are imported, and no longer."""

from __future__ import annotations

import gc

import pytest

from shards.models.libraries import undisturbed


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
