"""What Ray Train would print beside our own log."""

from __future__ import annotations

import logging

from jobs.train import RAY_REPORTS, _hush_reports


def test_the_logger_that_repeats_every_result_is_found_and_quiet() -> None:
    import ray.train  # noqa: F401  makes the logger, as in a worker

    named = [name for name in logging.root.manager.loggerDict if name.endswith(RAY_REPORTS)]
    assert named, "Ray has moved or renamed this logger; see whether its results are printed twice again"
    _hush_reports()
    assert not any(logging.getLogger(name).isEnabledFor(logging.INFO) for name in named)
