"""What stands in the tabs of the page, and every refusal as a message on it.

Owns the layout alone; what a button does is `predicting`'s, `looking`'s and `browsing`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shards.errors import ContractError

if TYPE_CHECKING:
    from diffusion_perception.features.looking import Looking
    from diffusion_perception.ui.browsing import Browsing
    from diffusion_perception.ui.predicting import Predicting

SHOWN_PX = 380  # height of a picture on the page
MESSAGE_S = 20  # how long a refusal is shown, which can be closed
BUTTONS = ["download", "fullscreen"]
COLORMAPS = ("dusk", "spectral", "grey")


def _told(gradio: Any, action: Callable[..., Any]) -> Callable[..., Any]:
    """The action with what it refuses as a message on the page."""

    @functools.wraps(action)
    def told(*given: Any) -> Any:
        try:
            return action(*given)
        except ContractError as error:
            raise gradio.Error(str(error), duration=MESSAGE_S, print_exception=False) from error

    return told


@contextmanager
def _columns(gradio: Any) -> Iterator[tuple[Any, Any]]:
    """Two that stand below each other on a narrow screen."""
    with gradio.Row():
        with gradio.Column(min_width=320) as left:
            pass
        with gradio.Column(min_width=320) as right:
            pass
    yield left, right


def _picture_input(gradio: Any, name: str, label: str = "Picture") -> Any:
    return gradio.Image(
        label=label, sources=["upload", "webcam", "clipboard"], height=SHOWN_PX, elem_id=f"{name}-picture"
    )


def _picture_shown(gradio: Any, label: str, name: str, value: Any = None) -> Any:
    return gradio.Image(
        value, label=label, format="png", interactive=False, buttons=BUTTONS, height=SHOWN_PX, elem_id=name
    )


def predict_tab(gradio: Any, predicting: Predicting) -> None:
    first = predicting.asks(predicting.places[0])
    with _columns(gradio) as (left, right):
        with left:
            models = gradio.Dropdown(
                [(_short(place), place) for place in predicting.places],
                label="Model",
                visible=len(predicting.places) > 1,
                elem_id="predict-model",
            )
            picture = _picture_input(gradio, "predict")
            sentence = gradio.Textbox(
                label="What to look for",
                placeholder="the dog on the left",
                visible=first.sentence,
                elem_id="predict-sentence",
            )
            scene = gradio.Dropdown(
                _scenes(first.classes), value="", label="Scene", visible=bool(first.classes), elem_id="predict-scene"
            )
            colours = gradio.Dropdown(COLORMAPS, label="Colours", visible=first.depth, elem_id="predict-colours")
            button = gradio.Button("Predict", variant="primary", elem_id="predict-go")
        with right:
            drawn = _picture_shown(gradio, "Prediction", "predict-drawn")
            files = gradio.File(label="Files", file_count="multiple", interactive=False, elem_id="predict-files")

    def asked(place: str) -> tuple[Any, ...]:
        asks = predicting.asks(place)
        return (
            gradio.Textbox(visible=asks.sentence),
            gradio.Dropdown(_scenes(asks.classes), value="", visible=bool(asks.classes)),
            gradio.Dropdown(visible=asks.depth),
        )

    def answer(*given: Any) -> tuple[Any, ...]:
        answered = predicting.answer(*given)
        return answered.drawn, list(answered.files)

    models.change(_told(gradio, asked), models, [sentence, scene, colours])
    inputs, outputs = [models, picture, sentence, scene, colours], [drawn, files]
    for event in (button.click, sentence.submit):
        event(_told(gradio, answer), inputs, outputs, concurrency_id="model", concurrency_limit=1)


def _short(place: str) -> str:
    """A place as it is chosen by."""
    return place if "://" in place else "/".join(place.rstrip("/").split("/")[-2:])


def _at_first(layers: list[str]) -> list[str]:
    """The layers that are chosen already: up blocks 1 and 2, of which DIFT and VPD read, else the last."""
    return [layer for layer in layers if layer.startswith("up_blocks.")][1:3] or layers[-2:]


def _scenes(classes: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("the mean of all", ""), *((name, name) for name in classes)]


def features_tab(gradio: Any, looking: Looking) -> None:
    layers = looking.layers()
    with _columns(gradio) as (left, right):
        with left:
            picture = _picture_input(gradio, "features")
            prompt = gradio.Textbox(label="Prompt", placeholder="a photo of a dog on a sofa", elem_id="features-prompt")
            timestep = gradio.Slider(1, 999, value=1, step=1, label="Timestep", info="above 1, its noise is added")
            chosen = gradio.Dropdown(
                layers, value=_at_first(layers), label="Layers", multiselect=True, elem_id="features-layers"
            )
            see_layers = gradio.Button("Layers", variant="primary", elem_id="features-go")
            words = gradio.Textbox(label="Words", placeholder="dog; empty: every word", elem_id="features-words")
            see_words = gradio.Button("Words", variant="primary", elem_id="words-go")
        with right:
            shown = gradio.Gallery(
                label="What it sees",
                format="png",
                columns=2,
                object_fit="contain",
                buttons=BUTTONS,
                height="auto",
                elem_id="features-shown",
            )
            gradio.Markdown(
                f"{looking.model}. Layers: three principal components as red, green and blue; colours of two layers do "
                "not compare. Words: where cross-attention looks for them, from dark to light."
            )
    how: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
    see_layers.click(_told(gradio, looking.components), [picture, prompt, chosen, timestep], shown, **how)
    see_words.click(_told(gradio, looking.heats), [picture, prompt, words, timestep], shown, **how)


def match_tab(gradio: Any, looking: Looking) -> None:
    layers = looking.layers()
    gradio.Markdown(
        "Choose two pictures, then click in the first: a line leads to the place in the second that looks most alike."
    )
    with _columns(gradio) as (left, right):
        with left:
            picture = _picture_input(gradio, "match")
        with right:
            other = _picture_input(gradio, "match-other", "Second picture")
    with gradio.Row():
        layer = gradio.Dropdown(layers, value=_at_first(layers)[0], label="Layer", elem_id="match-layer", min_width=100)
        timestep = gradio.Slider(1, 999, value=1, step=1, label="Timestep", min_width=100)
        clear = gradio.Button("Clear", elem_id="match-clear", min_width=100)
    points = gradio.State([])
    drawn = _picture_shown(gradio, "Matches", "match-drawn")

    def clicked(image: Any, second: Any, known: Any, name: str, step: float, event: Any) -> tuple[Any, Any]:
        there = [*known, (int(event.index[0]), int(event.index[1]))]
        return looking.matched(image, second, there, name, step), there

    clicked.__annotations__ = {"event": gradio.SelectData}  # by which Gradio knows that it is to tell the place
    inputs, outputs = [picture, other, points, layer, timestep], [drawn, points]
    picture.select(_told(gradio, clicked), inputs, outputs, concurrency_id="model", concurrency_limit=1)
    clear.click(lambda: (None, []), None, outputs)
    picture.input(lambda: (None, []), None, outputs)


def set_tab(gradio: Any, browsing: Browsing) -> None:
    from diffusion_perception.ui.browsing import MOST_KEYS

    first = browsing.record(0)
    gradio.Markdown(browsing.how)
    with gradio.Row():
        back = gradio.Button("Previous", elem_id="set-back", min_width=100)
        onward = gradio.Button("Next", elem_id="set-next", min_width=100)
    with gradio.Row():
        number = gradio.Number(0, precision=0, minimum=0, label="Record", elem_id="set-number", min_width=100)
        search = gradio.Textbox(label="Key has", elem_id="set-search", min_width=100)
        keys = gradio.Dropdown(browsing.found(""), label="Keys", value=None, elem_id="set-keys", min_width=100)
    with _columns(gradio) as (left, right):
        with left:
            picture = _picture_shown(gradio, "Picture", "set-picture", first.picture)
        with right:
            overlay = _picture_shown(gradio, "With its labels", "set-overlay", first.overlay)
    caption = gradio.HTML(first.caption, elem_classes="prose", elem_id="set-caption")
    with gradio.Accordion("meta", open=False):
        meta = gradio.JSON(dict(first.meta), show_label=False)

    def record(wanted: float | None) -> tuple[Any, ...]:
        one = browsing.record(int(wanted or 0))
        return one.number, one.picture, one.overlay, one.caption, dict(one.meta)

    def of_key(key: str | None) -> tuple[Any, ...]:
        return record(browsing.number_of(key) if key else 0)

    def found(text: str) -> Any:
        hits = browsing.found(text)
        said = len(hits) if len(hits) < MOST_KEYS else f"the first {MOST_KEYS}"
        return gradio.Dropdown(hits, value=None, label=f"Keys ({said})" if hits else "Keys (none)")

    shown = [number, picture, overlay, caption, meta]
    back.click(_told(gradio, lambda at: record((at or 0) - 1)), number, shown)
    onward.click(_told(gradio, lambda at: record((at or 0) + 1)), number, shown)
    number.submit(_told(gradio, record), number, shown)
    search.submit(_told(gradio, found), search, keys)
    search.blur(_told(gradio, found), search, keys)
    keys.input(_told(gradio, of_key), keys, shown)
