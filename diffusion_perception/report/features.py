"""What a checkpoint's backbone makes of a run's fixed validation pictures: components of its levels, and attention.

Owns which pictures and which words, and what is said where something cannot be shown: a report does without. Made when
the report is, from what the head reads in one pass a picture; training knows nothing of it. Which pictures are fixed is
`vpd.training.telemetry.pictures`', how features are drawn `vpd.drawing.components`'.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from diffusion_perception.features.looking import MOST_WORDS, enlarged
from diffusion_perception.report.predictions import ExampleOptions
from diffusion_perception.report.runs import RunRecord
from diffusion_perception.set_page import Show, shown
from pipeline.inspection.drawing import SIDE_PX, jpeg
from pipeline.set_page.drawing import false_colours
from shards.errors import ContractError
from shards.reading.reader import ShardSet, StoredRecord

if TYPE_CHECKING:
    import torch

    from diffusion_perception.trained import Trained
    from vpd.backbones import FeatureSpec

COUNT = 4  # pictures of a run that fixed none
MOST_CLASSES = 6  # where every class is a token: those that are looked at most


@dataclass(frozen=True)
class SeenRecord:
    """One picture.

    Attributes:
        said: the sentence that the backbone was told; empty for a task without.
        shown: in words, JPEG: what the encoder saw, a picture a level, one a word.
    """

    key: str
    said: str
    shown: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class SeenFeatures:
    """Of a run: nothing but notes where nothing can be shown."""

    notes: tuple[str, ...]
    records: tuple[SeenRecord, ...] = ()


def features_of(run: RunRecord, options: ExampleOptions, say: Callable[[str], None]) -> SeenFeatures:
    """Look at a run's fixed validation pictures with one of its checkpoints."""
    try:
        return _seen(run, options)
    except (ContractError, OSError) as error:
        say(f"[report] {run.name}: features are left out: {error}")
        return SeenFeatures((f"They cannot be shown: {error}",))


def _seen(run: RunRecord, options: ExampleOptions) -> SeenFeatures:
    import torch

    from diffusion_perception.assembly.sets import open_set
    from diffusion_perception.trained import load_trained
    from vpd.training.telemetry.pictures import fixed_records

    if not run.job.data.val:
        return SeenFeatures(("They cannot be shown: the run names no data.val, whose pictures they would be of.",))
    shards = open_set(run.job.data.val, run.job.data, run.job.data.val_subset)
    trained = load_trained(run.url, options.checkpoint, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    show, how, notes = shown(shards, options.pictures)
    workers = str((run.state.get("environment") or {}).get("workers", "1"))
    world = int(workers) if workers.isdigit() else 1
    numbers = fixed_records(shards.n_records, run.job.loop.pictures or COUNT, max(world, 1))
    looking = _Looking(trained, shards, show)
    records = tuple(looking.at(shards.record(number)) for number in numbers)
    about = f"{trained.where} on {shards.manifest.name}: three principal components of each level of the pyramid that "
    return SeenFeatures((f"{about}the head reads, as red, green and blue. {how}", *notes, *looking.notes), records)


class _Looking:
    """A model that looks at records."""

    def __init__(self, trained: Trained, shards: ShardSet, show: Show) -> None:
        from vpd.model.device_batch import text_fields

        self._trained, self._show = trained, show
        self._encoders = trained.encoders_for(shards.manifest)
        self._fields = text_fields(shards.schema, trained.data.text) if trained.task.uses_text else ()
        self.notes: list[str] = []

    def at(self, record: StoredRecord) -> SeenRecord:
        """The first sample of a record: its first view, or its first sentence."""
        from vpd.drawing.components import glowing, in_three_colours

        latent = record.array("latent", 0, 1)[0]  # [C, h, w]
        seen = self._show(record)
        picture = _small(false_colours(latent) if seen is None else seen)
        levels, context = self._pyramid(record)
        size = picture.shape[0], picture.shape[1]
        drawn = [("what the encoder saw", picture)]
        for name, values, _ in levels:
            channels, h, w = values.shape
            coloured = enlarged(in_three_colours(values), size)
            drawn.append((f"{name}: {channels} channels, {h} x {w}", coloured))
        sentences = record.meta.get("sentences", ()) if self._trained.task.uses_text else ()
        said = str(sentences[0]) if sentences else ""
        if maps := [maps for _, _, maps in levels if len(maps)]:
            heat = _heat(maps, size)  # [T, H, W]
            words = self._words(said, context, heat)
            drawn += [(word, glowing(picture, heat[tokens].mean(0))) for word, tokens in words]
        else:
            self._note("No attention is shown: its levels carry no attention maps.")
        return SeenRecord(record.key, said, tuple((what, jpeg(Image.fromarray(image))) for what, image in drawn))

    def _pyramid(self, record: StoredRecord) -> tuple[list[tuple[str, torch.Tensor, torch.Tensor]], Any]:
        """(name, features `[C, h, w]`, attention maps `[T or 0, h, w]`) of every level, finest first; the context."""
        import torch

        from vpd.inference.evaluate import samples_of
        from vpd.inference.packing import rows_of
        from vpd.model.device_batch import context_of, to_batch
        from vpd.training.step.numerics import autocast_of

        trained = self._trained
        samples = samples_of(trained.task, record, *self._fields, vision=trained.model.reads_vision)
        row = next(iter(rows_of(samples)))
        device = next(trained.model.parameters()).device
        batch = to_batch({name: value[None] for name, value in row.items()}, self._encoders, device)
        context = context_of(trained.task, batch)
        with torch.inference_mode(), autocast_of(trained.precision, device)():
            features, states = trained.model.features(batch.latents, context)
        spec = trained.model.backbone.spec(states.shape[1])
        return list(_pairs(spec, features)), context

    def _words(self, said: str, context: Any, heat: np.ndarray) -> list[tuple[str, list[int]]]:
        """What is shown of the tokens that attention is over: words of the sentence, or classes."""
        names = self._trained.class_names
        if self._trained.model.prompts is not None:
            self._note("No attention is shown: its prompts are learned, and no words.")
        elif said:
            return self._of_sentence(said)
        elif context is None and len(names) == len(heat):
            self._note("Attention of the classes that it goes to most, from its least to its most in the picture.")
            most = heat.mean((1, 2)).argsort()[::-1][:MOST_CLASSES]
            return [(names[number], [int(number)]) for number in most]
        else:
            self._note("No attention is shown: its context has a single word, or none that has a name.")
        return []

    def _of_sentence(self, said: str) -> list[tuple[str, list[int]]]:
        try:
            encoder = self._trained.encoder("text")
        except ContractError as error:
            self._note(f"No attention is shown: the text encoder, whose words it is over, is not at hand: {error}")
            return []
        self._note("Attention of each word, the mean over levels and the word's tokens, from its least to its most.")
        places: dict[str, list[int]] = {}
        for word, tokens in tokens_of(encoder.tokenize, said):
            places.setdefault(word, []).extend(tokens)
        return list(places.items())[:MOST_WORDS]

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def tokens_of(tokenize: Callable[[list[str]], np.ndarray], sentence: str) -> list[tuple[str, list[int]]]:
    """The words of a sentence and the places of their tokens, whatever the tokenizer is: the beginning of the sentence
    that ends in a word has so many more tokens in common with a longer text than the one before. What does not fit
    into the tokenizer's length is left out."""
    words = sentence.split()
    beginnings = [" ".join(words[:count]) for count in range(len(words) + 1)]
    *rows, longer = tokenize([*beginnings, f"{sentence} and more"])  # [L] each
    common = [int((row != longer).argmax()) if (row != longer).any() else len(longer) for row in rows]
    found = []
    for word, first, last in zip(words, common, common[1:], strict=False):
        plain = word.strip(string.punctuation)
        if plain and first < last < len(longer):
            found.append((plain, list(range(first, last))))
    return found


def _pairs(spec: FeatureSpec, features: Sequence[torch.Tensor]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """(name, features `[C, h, w]`, attention maps `[T or 0, h, w]`) of every level, of the first sample."""
    for level, values in zip(spec.levels, features, strict=True):
        found, maps = values[0].float().cpu().split([level.channels, level.map_tokens])
        yield level.name, found, maps


def _heat(maps: Sequence[torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    """The mean over levels of attention `[T, h, w]`, float32 `[T, *size]`."""
    import torch
    import torch.nn.functional as F

    large = [F.interpolate(one[None], size, mode="bilinear", align_corners=False)[0] for one in maps]
    return torch.stack(large).mean(0).numpy()


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 3]` as large as a page shows it."""
    scale = SIDE_PX / max(picture.shape[:2])
    height, width = (max(round(side * scale), 1) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
