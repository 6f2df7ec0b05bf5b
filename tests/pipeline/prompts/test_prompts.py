"""Class prompts: wording, pooling and the mean over templates, against plain calls of the text model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from pipeline.encoders import clip_text
from pipeline.prompts.class_table import PromptSettings, class_table, prompt
from pipeline.prompts.templates import IMAGENET_80, NAMED
from shards.errors import ConfigError

NAMES = ["cup", "dining_room", "le_ft"]


def plain_states(folder: Path, sentences: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    ids = tokenizer(sentences, padding="max_length", truncation=True, max_length=length, return_tensors="pt")[
        "input_ids"
    ]
    with torch.no_grad():
        return ids, CLIPTextModel.from_pretrained(folder / "text_encoder").eval()(input_ids=ids).last_hidden_state


def test_a_row_is_the_unnormalised_mean_of_the_states_at_the_first_end_token(model_folder: Path) -> None:
    templates = ("a {}.", "the {} in a game.")
    table = class_table(NAMES, clip_text.build(str(model_folder), length=20), PromptSettings(templates))
    end = CLIPTokenizer.from_pretrained(model_folder / "tokenizer").eos_token_id
    for row, name in zip(table.arrays["embeddings"], NAMES, strict=True):
        sentences = [template.replace("{}", name.replace("_", " ")) for template in templates]
        ids, states = plain_states(model_folder, sentences, 20)
        ends = [row_ids.tolist().index(end) for row_ids in ids]
        pooled = torch.stack([state[at] for state, at in zip(states, ends, strict=True)])
        np.testing.assert_allclose(row, pooled.mean(0).numpy(), atol=1e-6)


def test_the_pooled_state_is_that_of_the_library_and_does_not_depend_on_the_length(model_folder: Path) -> None:
    sentences = ["a cup", "the left one"]
    short, long = (clip_text.build(str(model_folder), length=length) for length in (14, 20))
    pooled = short.encode_pooled(short.tokenize(sentences))
    np.testing.assert_allclose(pooled, long.encode_pooled(long.tokenize(sentences)), atol=1e-6)
    model = CLIPTextModel.from_pretrained(model_folder / "text_encoder").eval()
    with torch.no_grad():
        library = model(input_ids=torch.from_numpy(short.tokenize(sentences)).long()).pooler_output
    np.testing.assert_allclose(pooled, library.numpy(), atol=1e-6)


def test_a_row_does_not_depend_on_the_other_classes(model_folder: Path) -> None:
    encoder = clip_text.build(str(model_folder), length=20)
    alone = class_table(["cup"], encoder).arrays["embeddings"]
    together = class_table(["bed", "cup"], encoder).arrays["embeddings"]
    np.testing.assert_array_equal(alone[0], together[1])


def test_token_rows_are_all_states_of_the_one_prompt(model_folder: Path) -> None:
    encoder = clip_text.build(str(model_folder), length=16)
    table = class_table(NAMES, encoder, PromptSettings("photo", "tokens"))
    assert table.arrays["embeddings"].shape == (3, 16, 16)
    _, states = plain_states(model_folder, ["a photo of a dining room."], 16)
    np.testing.assert_allclose(table.arrays["embeddings"][1], states[0].numpy(), atol=1e-6)


def test_the_table_says_where_its_rows_come_from(model_folder: Path) -> None:
    encoder = clip_text.build(str(model_folder), length=20)
    table = class_table(NAMES, encoder, PromptSettings("name"))
    assert table.info == {
        "names": NAMES,
        "templates": ["{}"],
        "mode": "pooled",
        "text_encoder": encoder.fingerprint,
        "full": [],
    }
    assert table.arrays["embeddings"].dtype == np.float32


def test_a_prompt_that_fills_every_position_is_reported(model_folder: Path) -> None:
    encoder = clip_text.build(str(model_folder), length=8)
    assert class_table(["cup", "abcdefghijk"], encoder, PromptSettings("name")).full == ["abcdefghijk"]


def test_there_are_eighty_different_templates_with_one_place_for_the_name() -> None:
    assert len(set(IMAGENET_80)) == len(IMAGENET_80) == 80
    assert all(template.count("{}") == 1 for templates in NAMED.values() for template in templates)
    assert prompt("itap of the {}.", "indoor_balcony") == "itap of the indoor balcony."


@pytest.mark.parametrize(
    ("names", "settings", "match"),
    [
        ([], PromptSettings(), "no names"),
        (["a", "b", "a"], PromptSettings(), "'a' more than once"),
        (["a", " "], PromptSettings(), "an empty name"),
        (["a"], PromptSettings("imagenet"), "'imagenet' needs the class name exactly once"),
        (["a"], PromptSettings(("a {}", "{} and {}")), r"'\{\} and \{\}' needs the class name"),
        (["a"], PromptSettings("imagenet_80", "tokens"), "ONE prompt, found 80 templates"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    names: list[str], settings: PromptSettings, match: str, model_folder: Path
) -> None:
    with pytest.raises(ConfigError, match=match):
        class_table(names, clip_text.build(str(model_folder), length=20), settings)
