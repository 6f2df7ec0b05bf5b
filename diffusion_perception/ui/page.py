"""The page itself, by Gradio: which tabs it has, its look, its address and where its files lie.

What stands in a tab is `tabs`'. Gradio is imported inside a function of this file alone, and handed on.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from diffusion_perception.ui import tabs
from shards.errors import ConfigError
from shards.storage.staging import staging_folder

if TYPE_CHECKING:
    from diffusion_perception.ui.job import UiJob

TITLE = "Diffusion perception"
KEPT_S = 3600  # how long the page keeps files of its answers
MOST_MB = 100  # of an upload
CSS = """
.gradio-container main { max-width: 1200px; margin: 0 auto; width: 100%; }
.prose, .prose * { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; border: 1px solid #999; }
footer { display: none !important; }
@media (max-width: 640px) { .grid-container { grid-template-columns: 1fr !important; } }
.grid-wrap { max-height: none !important; }
"""


def page_of(job: UiJob) -> Any:
    """The page of what a job names, not yet served. Raises what `Predicting` and `Browsing` raise, and ConfigError."""
    gradio = _gradio()
    shown: list[tuple[str, Callable[[], None]]] = []  # all is opened before the page is made: faults are told now
    if job.runs:
        from diffusion_perception.ui.predicting import Predicting

        predicting = Predicting(job.runs, job.checkpoint, job.device, job.memory_gb)
        shown.append(("Predict", functools.partial(tabs.predict_tab, gradio, predicting)))
    if job.features:
        from diffusion_perception.features.looking import Looking

        looking = Looking(job.features, job.device, job.side_px)
        looking.layers()
        shown.append(("Features", functools.partial(tabs.features_tab, gradio, looking)))
        shown.append(("Match", functools.partial(tabs.match_tab, gradio, looking)))
    if job.set:
        from diffusion_perception.ui.browsing import Browsing

        browsing = Browsing(job.set, job.page, job.storage)
        shown.append(("Set", functools.partial(tabs.set_tab, gradio, browsing)))
    with gradio.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(KEPT_S, KEPT_S)) as page:
        gradio.Markdown(f"# {TITLE}")
        for name, add in shown:
            with gradio.Tab(name):
                add()
    return page


def serve(page: Any, job: UiJob, *, wait: bool = True) -> str:
    """Serve a page until it is interrupted, or in the background; returns its address.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    gradio = _gradio()
    try:
        _, address, _ = page.launch(
            server_name=job.host,
            server_port=job.port or None,
            prevent_thread_lock=not wait,
            show_error=True,
            share=False,
            ssr_mode=False,
            max_file_size=f"{MOST_MB}mb",
            quiet=not wait,
            css=CSS,
            footer_links=[],
            theme=gradio.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")),
        )
    except OSError as error:
        raise ConfigError(
            f"host={job.host} port={job.port}: cannot listen there ({error}). Name another port."
        ) from error
    return address


def _gradio() -> Any:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it would ask its makers for the newest version
    os.environ.setdefault("GRADIO_TEMP_DIR", _folder())
    try:
        import gradio
    except ImportError as error:
        raise ConfigError(
            f"ui needs Gradio, which cannot be imported ({error}): pip install 'diffusion-perception[ui]'."
        ) from error
    return gradio


@functools.cache
def _folder() -> str:
    """Where uploads and answers lie while this process lives. Gradio's own choice is one folder for all pages and users
    of a machine, which the first of them owns and nobody empties."""
    stack = ExitStack()
    atexit.register(stack.close)
    return str(stack.enter_context(staging_folder()) / "gradio")
