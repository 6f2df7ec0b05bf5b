"""The files of a part of a diffusers model: where they lie among others, and which weights of several count.

Owns the order of choice: full precision before halves (`fp16`, then `bf16`), safetensors before `.bin`, one file or
several with an index. Works on a listing, of a folder here or of a repository on the hub.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

CONFIG = "config.json"
VARIANTS = ("", "fp16", "bf16")
CLASS_KEYS = ("_class_name", "model_type", "tokenizer_class")


class Absent(Exception):
    """What a listing lacks of a part."""


class Unfit(Exception):
    """What is there is another kind of part, or damaged."""


@dataclass(frozen=True)
class Form:
    """How one kind of part lies in its folder.

    Attributes:
        needs: all files of one of these must be there.
        says: the file that names its class.
        classes: what that may name, under any of `CLASS_KEYS`; a file that names none passes.
        stems: names of weight files as safetensors and as `.bin`; None: a part without weights.
        also: files that are read, too, where they are.
    """

    needs: tuple[tuple[str, ...], ...]
    says: str
    classes: tuple[str, ...]
    stems: tuple[str, str] | None = None
    also: tuple[str, ...] = ()

    @property
    def needed(self) -> str:
        """For a message."""
        weights = f" and {self.stems[0]}.safetensors" if self.stems else ""
        return " or ".join(" + ".join(names) for names in self.needs) + weights


_DIFFUSERS = ("diffusion_pytorch_model", "diffusion_pytorch_model")
_WORDS = "tokenizer_config.json"
_TEXT = Form(((CONFIG,),), CONFIG, ("clip_text_model", "clip", "t5"), ("model", "pytorch_model"))
_TOKENIZER = Form(
    (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",)),
    _WORDS,
    ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast"),
    also=(
        *(_WORDS, "tokenizer.json", "vocab.json", "merges.txt", "spiece.model"),
        *("special_tokens_map.json", "added_tokens.json"),
    ),
)
FORMS: Mapping[str, Form] = {
    "vae": Form(((CONFIG,),), CONFIG, ("AutoencoderKL",), _DIFFUSERS),
    "unet": Form(((CONFIG,),), CONFIG, ("UNet2DConditionModel",), _DIFFUSERS),
    "transformer": Form(
        ((CONFIG,),),
        CONFIG,
        ("SD3Transformer2DModel", "PixArtTransformer2DModel", "FluxTransformer2DModel"),
        _DIFFUSERS,
    ),
    "vit": Form(
        ((CONFIG,),),
        CONFIG,
        ("ViTForImageClassification", "vit"),
        ("model", "pytorch_model"),
        also=("preprocessor_config.json",),
    ),
    **dict.fromkeys(("text_encoder", "text_encoder_2", "text_encoder_3"), _TEXT),  # later families have several
    **dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3"), _TOKENIZER),
}


@dataclass(frozen=True)
class Choice:
    """The files of a part, as they are named in the listing.

    Attributes:
        home: the part's folder in it, ending in "/"; empty for the listing's own.
        weights: those that count; empty for a part without, or if they were not asked for.
        variant: half precision, by name; empty for full precision.
        others: what is read beside the weights.
    """

    home: str
    weights: tuple[str, ...]
    variant: str
    others: tuple[str, ...]


def choose(kind: str, names: Collection[str], read: Callable[[str], bytes], weights: bool) -> Choice:
    """The files of a part among all of these names.

    Args:
        kind: of `FORMS`.
        names: with "/" between folders.
        read: gives the content of one of them.
        weights: whether they are wanted.

    Raises:
        Absent: the part, or weights of it, are not among the names.
        Unfit: another kind of part, or a file that is not JSON.
    """
    form, there = FORMS[kind], set(names)
    home = f"{kind}/" if any(name.startswith(f"{kind}/") for name in there) else ""
    at = home or f"no {kind}/, and the folder itself"
    if not any(all(home + name in there for name in needed) for needed in form.needs):
        raise Absent(f"{at} has no {' or '.join(' + '.join(needed) for needed in form.needs)}; {_found(home, there)}")
    if home + form.says in there:
        _check_class(home + form.says, form, read)
    others = tuple(dict.fromkeys(home + name for name in (form.says, *form.also) if home + name in there))
    if form.stems is None or not weights:
        return Choice(home, (), "", others)
    for variant in VARIANTS:
        for stem, suffix in zip(form.stems, ("safetensors", "bin"), strict=True):
            if (whole := home + ".".join(filter(None, (stem, variant, suffix)))) in there:
                return Choice(home, (whole,), variant, others)
            index = home + ".".join(filter(None, (stem, suffix, "index", variant, "json")))
            if index in there:
                return Choice(home, _of_index(home, index, there, read), variant, (*others, index))
    raise Absent(f"{at} has no {form.stems[0]}.safetensors, nor .bin, fp16 or bf16 of it; {_found(home, there)}")


def json_of(name: str, read: Callable[[str], bytes]) -> Mapping[str, Any]:
    """The object in a JSON file. Raises Unfit."""
    try:
        found = json.loads(read(name))
    except (OSError, ValueError, RecursionError) as error:
        raise Unfit(f"{name} is not readable JSON ({error})") from error
    if not isinstance(found, Mapping):
        raise Unfit(f"{name} holds {type(found).__name__}, expected an object")
    return found


def _check_class(name: str, form: Form, read: Callable[[str], bytes]) -> None:
    said = json_of(name, read)
    named = {key: said[key] for key in CLASS_KEYS if said.get(key) is not None}
    if named and not any(value in form.classes for value in named.values()):
        key, value = next(iter(named.items()))
        raise Unfit(f"{name} says {key} = {value!r}, expected {form.classes[0]}")


def _of_index(home: str, index: str, there: set[str], read: Callable[[str], bytes]) -> tuple[str, ...]:
    where = json_of(index, read).get("weight_map")
    if not isinstance(where, Mapping) or not where or not all(isinstance(name, str) for name in where.values()):
        raise Unfit(f"{index} has no weight_map of tensor to file")
    files = sorted({home + name for name in where.values()})
    if missing := [name for name in files if name not in there]:
        raise Absent(f"{index} names {len(files)} files, of which {len(missing)} are missing, such as {missing[0]}")
    return tuple(files)


def _found(home: str, there: set[str]) -> str:
    names = sorted({name.removeprefix(home).split("/")[0] for name in there if name.startswith(home)})
    return f"found {', '.join(names[:8]) + (' ...' if len(names) > 8 else '') if names else 'nothing'}"
