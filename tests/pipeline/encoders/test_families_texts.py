"""Text encoders of later families: tokens with what they carry, as diffusers' own pipelines encode a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.encoders import flux_text, pixart_text, sd3_text, sdxl_text
from shards.errors import ConfigError
from shards.models import spiece
from tests.tiny_pipelines import tiny_pipeline
from vpd.features.models import load_pipeline

PROMPTS = ["a photo of a cat", "two dogs", "a cat " * 60]  # the last is cut
ENCODERS: dict[str, tuple[Any, int]] = {  # and the length the family was trained with
    "sdxl": (sdxl_text, 77),
    "pixart": (pixart_text, 300),
    "sd3": (sd3_text, 333),
    "flux": (flux_text, 512),
}


@pytest.fixture(scope="module", params=ENCODERS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The pipeline, and its folder."""
    folder = tmp_path_factory.mktemp(family)
    pipeline = tiny_pipeline(family, folder / "words")
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # made and not loaded, T5 would drop values out
    pipeline.save_pretrained(folder / "model")
    return pipeline, str(folder / "model")


def of_the_pipeline(family: str, pipeline: Any) -> tuple[np.ndarray, np.ndarray]:
    """States [S, L, D], and what each token carries beside them [S, L, E]."""
    if family == "pixart":
        states, mask, _, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
        return states.detach().numpy(), mask[..., None].numpy()
    if family == "flux":
        states, pooled, _ = pipeline.encode_prompt(PROMPTS, None)
    else:
        others = (None, None) if family == "sd3" else ()
        states, _, pooled, _ = pipeline.encode_prompt(PROMPTS, *others, do_classifier_free_guidance=False)
    carried = pooled[:, None].expand(-1, states.shape[1], -1)
    return states.detach().numpy(), carried.detach().numpy()


def test_tokens_are_those_of_the_pipeline(family: str, model: tuple[Any, str]) -> None:
    module, length = ENCODERS[family]
    pipeline, folder = model
    encoder, said = module.build(folder, length=length), module.describe(folder, length=length)
    assert (encoder.length, encoder.width) == (said.length, said.width)
    assert (said.encoder, said.assumed) == (encoder.fingerprint["encoder"], "")
    tokens = encoder.tokenize(PROMPTS)
    found = encoder.encode(tokens)
    states, carried = of_the_pipeline(family, pipeline)
    assert said.carried_width == carried.shape[-1]
    np.testing.assert_allclose(found, np.concatenate([states, carried], axis=-1), rtol=0, atol=1e-5)
    assert np.array_equal(encoder.encode_to_store(tokens), found.astype(np.float16))
    np.testing.assert_allclose(encoder.states(torch.from_numpy(tokens)).numpy(), found, rtol=0, atol=1e-6)


def test_a_class_is_one_token_whatever_the_length(family: str, model: tuple[Any, str]) -> None:
    module, _ = ENCODERS[family]
    rows = []
    for length in (48, 60):
        encoder = module.build(model[1], length=length)
        rows.append(encoder.encode_pooled(encoder.tokenize(["a cat", "two dogs"])))
        assert rows[-1].shape == (2, encoder.width)
    np.testing.assert_allclose(rows[0], rows[1], rtol=0, atol=1e-5)
    assert np.abs(rows[0][0] - rows[0][1]).max() > 1e-3


def test_sentences_that_are_cut_are_counted(family: str, model: tuple[Any, str]) -> None:
    module, _ = ENCODERS[family]
    assert module.build(model[1], length=48).cut(PROMPTS) == 1
    if hasattr(module, "cut_counter"):  # without weights
        assert module.cut_counter(model[1], length=48)(PROMPTS) == 1


def test_another_model_is_refused(family: str, tiny_sd: Path) -> None:
    with pytest.raises(ConfigError, match=r"no usable|lacks .* weights"):
        ENCODERS[family][0].build(str(tiny_sd))
    assumed = ENCODERS[family][0].describe("nobody/no-such-model")
    assert "nobody/no-such-model is not in the local cache" in assumed.assumed


def test_settings_that_do_not_fit_are_refused_in_its_name(family: str, model: tuple[Any, str]) -> None:
    module, _ = ENCODERS[family]
    for call in (module.build, module.describe):  # a dry run refuses what the build would
        with pytest.raises(ConfigError, match=f"{family}_text: length is 2 tokens"):
            call(model[1], length=2)
    with pytest.raises(ConfigError, match=f"{family}_text: dtype is 'bfloat16', expected float32 or float16"):
        module.build(model[1], length=48, dtype="bfloat16")


@pytest.mark.parametrize(("short", "length"), [("sdxl", 21), ("sd3", 42), ("flux", 21)])
def test_a_clip_has_a_position_for_every_token_it_gets(short: str, length: int, tmp_path: Path) -> None:
    pipeline, (module, _) = tiny_pipeline(short, tmp_path / "words"), ENCODERS[short]
    encoder = pipeline.text_encoder
    encoder.config.max_position_embeddings = 20
    pipeline.text_encoder = type(encoder)(encoder.config)
    pipeline.save_pretrained(tmp_path / "model")
    for call in (module.build, module.describe):
        assert call(str(tmp_path / "model"), length=length - (2 if short == "sd3" else 1)).length < length
        with pytest.raises(ConfigError, match=rf"{short}_text: .*20.* positions"):
            call(str(tmp_path / "model"), length=length)


def test_parts_of_several_models_are_refused(tmp_path: Path) -> None:
    tiny_pipeline("sd3", tmp_path / "words").save_pretrained(tmp_path / "model")
    other = tiny_pipeline("pixart", tmp_path / "words")
    other.text_encoder.save_pretrained(tmp_path / "model" / "text_encoder_3")
    other.tokenizer.save_pretrained(tmp_path / "model" / "tokenizer_3")
    assert sd3_text.describe(str(tmp_path / "model"), length=48).width == 32 + 2 * 12
    config = tmp_path / "model" / "transformer" / "config.json"
    said = json.loads(config.read_text())
    for width, match in [(24, "both CLIPs of .* are 32 wide together"), (40, "text_encoder_3 of .* is 32 wide")]:
        config.write_text(json.dumps(said | {"joint_attention_dim": width}))
        for call in (sd3_text.build, sd3_text.describe):
            with pytest.raises(ConfigError, match=f"{match}, its transformer reads {width}"):
                call(str(tmp_path / "model"), length=48)


def test_of_a_model_that_is_not_here_a_length_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="sdxl_text: length is 78 tokens, expected 3 to 77"):
        sdxl_text.describe("nobody/no-such-model", length=78)


def test_a_vocabulary_of_sentencepiece_alone_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PixArt-Sigma's own repository has it."""
    tiny_pipeline("pixart", tmp_path / "words").save_pretrained(tmp_path / "model")
    words = tmp_path / "model" / "tokenizer"
    (words / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (words / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    (words / "spiece.model").write_bytes(b"vocabulary")
    monkeypatch.setattr(spiece, "find_spec", lambda name: None)
    for load in (pixart_text.build, lambda model: load_pipeline(model, None, "float32")):
        with pytest.raises(ConfigError) as error:
            load(str(tmp_path / "model"))
        said = str(error.value)
        assert "tokenizer" in said
        assert "spiece.model is read with the package sentencepiece, which is not installed: pip install" in said
        assert "save_pretrained(FOLDER) writes one where the package is" in said
    monkeypatch.setattr(spiece, "find_spec", lambda name: name)
    assert spiece.unreadable(words) == ""
    monkeypatch.setattr(spiece, "find_spec", lambda name: None)
    (tmp_path / "tokenizer.json").rename(words / "tokenizer.json")
    assert spiece.unreadable(words) == ""


@torch.no_grad()
def test_float16_does_not_overflow_in_t5(tmp_path: Path) -> None:
    """Its feed-forward layers give numbers beyond 65504 in large models, which its last norm makes small again."""
    pipeline = tiny_pipeline("pixart", tmp_path / "words")
    for block in pipeline.text_encoder.encoder.block:
        block.layer[-1].DenseReluDense.wo.weight.mul_(1e6)
    pipeline.save_pretrained(tmp_path / "model")
    found = []
    for dtype in ("float32", "float16"):
        encoder: Any = pixart_text.build(str(tmp_path / "model"), length=16, dtype=dtype)  # pyright: ignore
        found.append(encoder.encode(encoder.tokenize(["a cat"])))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=0.02 * np.abs(found[0]).max())
