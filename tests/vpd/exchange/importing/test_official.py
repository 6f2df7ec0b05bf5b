"""Published-format checkpoints in, published outputs out; every key accounted for; misfits refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from diffusion_perception.blueprints import assembled, from_pretrained
from shards.errors import ConfigError, SchemaMismatch
from vpd.exchange.importing.files import read_checkpoint
from vpd.exchange.importing.folders import write_model
from vpd.exchange.importing.official import import_checkpoint

FILES = {"refer": "vpd_refer_model_best.pth", "depth": "vpd_depth_last.ckpt", "seg": "vpd_seg_iter.pth"}


@pytest.fixture(scope="module")
def imported(published: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A task's recorded checkpoint as a model folder."""
    folders: dict[str, Path] = {}

    def folder(task: str) -> Path:
        if task not in folders:
            folders[task] = tmp_path_factory.mktemp("models") / task
            write_model(
                folders[task], import_checkpoint(published(FILES[task]), assembled, allow_namespace=task == "refer")
            )
        return folders[task]

    return folder


def encode(folder: Path, pixels: torch.Tensor) -> torch.Tensor:
    """Raw posterior mean in float32 by the folder's own VAE encoder, padded to whole blocks of 64 with mid-grey."""
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False)
    height, width = (-(-side // 64) * 64 for side in pixels.shape[-2:])
    return vae.encode(F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))).latent_dist.mode()


@torch.no_grad()
def test_refer_predicts_what_was_published(imported, golden_refer) -> None:
    model, blueprint = from_pretrained(imported("refer"))
    latents = encode(imported("refer"), golden_refer["image_u8"].float() / 127.5 - 1)
    torch.testing.assert_close(latents, golden_refer["latents"], rtol=0, atol=1e-4)
    logits = model(latents, golden_refer["l_feats"], (256, 256))
    torch.testing.assert_close(golden_refer.kept("logits", logits), golden_refer["logits"], rtol=0, atol=2e-4)
    assert (logits.argmax(1) != golden_refer["mask"]).sum() <= 10
    assert (blueprint.tokens, blueprint.size_px) == (40, [512, 512])  # from the head's width and the command line


@torch.no_grad()
def test_depth_predicts_what_was_published(imported, golden_depth) -> None:
    model, blueprint = from_pretrained(imported("depth"))
    image = golden_depth["image_u8"].float() / 127.5 - 1
    latents = encode(imported("depth"), image[..., :352, :352])  # padded to 384
    torch.testing.assert_close(latents, golden_depth["s352.latents"][:1], rtol=0, atol=1e-4)
    found = model(golden_depth["s352.latents"], golden_depth["s352.class_ids"], (352, 352))
    torch.testing.assert_close(golden_depth.kept("s352.pred_d", found), golden_depth["s352.pred_d"], rtol=0, atol=1e-4)
    assert blueprint.class_table == [27, 64]


@torch.no_grad()
def test_segmentation_predicts_what_was_published(imported, golden_seg) -> None:
    model, blueprint = from_pretrained(imported("seg"))
    latents = encode(imported("seg"), golden_seg["image_u8"].float() / 127.5 - 1)
    torch.testing.assert_close(latents, golden_seg["latents"], rtol=0, atol=1e-4)
    features = model.backbone(latents, model.text_states(None))
    for i, feature in enumerate(features):
        torch.testing.assert_close(feature[:1], golden_seg[f"feat{i}"], rtol=0, atol=4e-3)
    torch.testing.assert_close(model.head(features, (16, 16)), golden_seg["head_logits"], rtol=0, atol=3e-3)
    logits = model(latents, None, (128, 128))
    torch.testing.assert_close(logits[..., 1::4, 2::4], golden_seg["logits_every4"], rtol=0, atol=3e-3)
    assert blueprint.task["classes"] == len(blueprint.class_names) == 13


@pytest.mark.parametrize("task", FILES)
def test_every_key_is_mapped_or_left_with_a_reason_and_values_are_untouched(task: str, published) -> None:
    imported = import_checkpoint(published(FILES[task]), assembled, allow_namespace=True)
    source = read_checkpoint(published(FILES[task]), allow_namespace=True).weights
    report = imported.report
    assert set(report.mapped) | set(report.left) == set(source)
    assert not set(report.mapped) & set(report.left)
    assert len(set(report.mapped.values())) == len(report.mapped)
    weights = imported.weights | {f"vae.{name}": value for name, value in imported.vae.weights.items()}
    for key, name in report.mapped.items():
        assert torch.equal(weights[name].flatten(), source[key].flatten()), key
    assert all(report.left.values())
    assert all(report.missing.values())
    assert {name.split(".")[0] for name in report.missing} <= {"unet", "vae"}


def test_the_report_counts_and_explains(published) -> None:
    lines = "\n".join(import_checkpoint(published(FILES["seg"]), assembled).report.lines())
    assert "layout vpd_seg" in lines
    assert "mapped     858 keys" in lines
    assert "13   buffer of the noise schedule" in lines
    assert "maps averaged over up+down" in lines


def test_mmsegmentations_layout_gives_the_same_network(published, tmp_path: Path) -> None:
    """Its names (docs/methods/checkpoints.md#prefixes), with the VAE's decoder and the output head that it keeps."""
    names = {
        "encoder.layer1.": "decode_head.conv1.",
        "encoder.layer2.0.": "decode_head.conv2.",
        "encoder.out_layer.": "decode_head.conv_aggregation.",
        "decoder.": "decode_head.decoder.",
        "last_layer_depth.": "decode_head.depth_pred_layer.",
        "encoder.": "backbone.",
    }
    official = read_checkpoint(published(FILES["depth"])).weights
    weights = {}
    for key, value in official.items():
        theirs = next(prefix for prefix in names if key.startswith(prefix))
        weights[names[theirs] + key.removeprefix(theirs)] = value
    base = read_checkpoint(published("ldm_sd_v1_like.ckpt")).weights
    weights |= {
        k.replace("first_stage_model.", "backbone.encoder_vq."): v
        for k, v in base.items()
        if k.startswith("first_stage_model.decoder.")
    }
    weights |= {
        k.replace("model.diffusion_model.", "backbone.unet.unet.diffusion_model."): v
        for k, v in base.items()
        if k.startswith("model.diffusion_model.out.")
    }
    table = official["encoder.class_embeddings"]
    weights["backbone.class_embeddings"] = torch.cat([table, table.mean(0, keepdim=True)])
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "mmseg.pth")

    imported = import_checkpoint(tmp_path / "mmseg.pth", assembled)
    plain = import_checkpoint(published(FILES["depth"]), assembled)
    assert imported.layout.name == "mmseg_depth"
    assert imported.report.missing == {}
    for name, value in plain.weights.items():
        assert torch.equal(
            imported.weights[name][: len(value)] if name == "class_embeddings" else imported.weights[name], value
        )
    assert imported.blueprint.class_table == [28, 64]
    assert imported.blueprint.task == {"name": "depth", "loss": "per_image"}
    assert len(imported.unet_rest) == 4


def test_settings_that_weights_cannot_tell_are_laid_over(published) -> None:
    plain = import_checkpoint(published(FILES["depth"]), assembled)
    changes = {"task": {"max_depth_m": 80.0}, "size_px": [352, 352]}
    changed = import_checkpoint(published(FILES["depth"]), assembled, changes=changes)
    assert changed.blueprint.size_px == [352, 352]
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([3]), (64, 64)
    with torch.no_grad():
        torch.testing.assert_close(changed.model()(*inputs), 8 * plain.model()(*inputs))


def test_wider_maps_and_other_hidden_widths_are_read_from_the_head(published, altered) -> None:
    """A64: maps on the finest level as well. Values do not matter, so the head's input is padded with zeros."""

    def widen(weights: dict[str, torch.Tensor]) -> None:
        key = "classifier.conv1_2.weight"
        weights[key] = F.pad(weights[key], (0, 0, 0, 0, 0, 40))

    imported = import_checkpoint(altered(FILES["refer"], widen), assembled)
    assert imported.blueprint.backbone["map_levels"] == [1, 2, 4]
    assert "512 pixel views" in str(imported.report.notes)  # without the command line, the size is assumed
    assert imported.model()(torch.randn(1, 4, 8, 8), torch.randn(1, 40, 64), (64, 64)).shape == (1, 2, 64, 64)


@pytest.mark.parametrize(
    ("task", "change", "match"),
    [
        ("depth", lambda w: w.pop("decoder.conv_layers.1.running_var"), r"1 keys missing: head\.conv_layers\.1\.run"),
        (
            "depth",
            lambda w: w.pop("encoder.unet.unet.diffusion_model.middle_block.0.in_layers.2.bias"),
            "1 keys missing",
        ),
        ("depth", lambda w: w.pop("encoder.encoder_vq.quant_conv.bias"), r"missing: vae\.quant_conv\.bias"),
        ("refer", lambda w: w.update(extra=torch.ones(1)), "1 keys unexpected: extra"),
        ("refer", lambda w: w.update({"classifier.bn9.bias": torch.ones(1)}), r"unexpected: classifier\.bn9\.bias"),
        ("refer", lambda w: w.update(gamma=torch.ones(3)), r"gamma \[3\] \(expected \[64\]\)"),
        ("refer", lambda w: w.pop("classifier.conv1_4.weight"), r"no head\.conv1_4\.weight among the weights"),
        (
            "seg",
            lambda w: w.update(class_embeddings=torch.ones(12, 64)),
            "13 map channels, .* has 12",
        ),
        ("seg", lambda w: [w.pop(k) for k in list(w) if "input_blocks.0" in k], r"conv_in\.weight is missing"),
    ],
)
def test_keys_that_do_not_fit_are_named(task: str, change: Callable, match: str, altered) -> None:
    with pytest.raises(SchemaMismatch, match=match):
        import_checkpoint(altered(FILES[task], change), assembled)


def test_half_of_the_keys_missing_names_the_first_ones_and_counts_the_rest(altered) -> None:
    def halve(weights: dict[str, torch.Tensor]) -> None:
        for key in [k for k in weights if ".output_blocks." in k]:
            del weights[key]

    with pytest.raises(
        SchemaMismatch, match=r"keys missing: backbone\.unet\.up_blocks|keys missing: unet\.up_blocks"
    ) as error:
        import_checkpoint(altered(FILES["refer"], halve), assembled)
    assert ", ..." in str(error.value)


def test_another_architecture_is_refused_with_its_first_keys(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}}, path)
    match = r"(?s)first are layer1\.0\.conv1\.weight, fc\.bias.*original Stable Diffusion v1"
    with pytest.raises(SchemaMismatch, match=match):
        import_checkpoint(path, assembled)


def test_meta_prompts_depth_predicts_what_was_published(published, golden_meta_depth, tmp_path) -> None:
    write_model(tmp_path, import_checkpoint(published("metaprompts_depth_best.ckpt"), assembled))
    model, blueprint = from_pretrained(tmp_path)
    image = golden_meta_depth["image_u8"].float() / 127.5 - 1
    enlarged = F.interpolate(image, (192, 256), mode="bilinear", align_corners=False)
    depth_m = model(encode(tmp_path, enlarged), None, (128, 192))
    found = golden_meta_depth.kept("pred_d_f64", depth_m)
    torch.testing.assert_close(found, golden_meta_depth["pred_d_f64"], rtol=0, atol=9.6e-4)  # 1e-4 of 9.6 m
    assert blueprint.task == {"name": "depth", "view_fit": "enlarged"}
    assert blueprint.prompts == {"count": 50, "passes": 3, "shared": False, "adapter": True}


@torch.no_grad()
def test_meta_prompts_segmentation_predicts_what_was_published(published, golden_meta_seg, tmp_path) -> None:
    """The recording keeps the UNet and the VAE apart from the rest; put together, they are an official file."""
    base = read_checkpoint(published("ldm_sd_v1_like.ckpt")).weights
    moved = {"model.diffusion_model.": "unet.unet.diffusion_model.", "first_stage_model.": "encoder_vq."}
    weights = {
        there + name.removeprefix(here): value
        for here, there in moved.items()
        for name, value in base.items()
        if name.startswith(here)
    }
    weights |= {
        name.replace("unet.unet.diffusion_model.out.", "cross_unet_conv2."): value
        for name, value in weights.items()
        if name.startswith("unet.unet.diffusion_model.out.")
    }
    weights |= torch.load(published("metaprompts_seg_extra.pth"), weights_only=True)
    torch.save({"state_dict": weights, "meta": {"CLASSES": [f"c{n}" for n in range(11)]}}, tmp_path / "iter.pth")
    imported = import_checkpoint(tmp_path / "iter.pth", assembled)
    write_model(tmp_path / "model", imported)
    model, blueprint = from_pretrained(tmp_path / "model")
    latents = encode(tmp_path / "model", (golden_meta_seg["image_u8"].float() - 127.5) / 127.5)
    logits = F.interpolate(model(latents, None, None), (128, 128), mode="bilinear", align_corners=False)
    expected = golden_meta_seg["logits_every4"]
    torch.testing.assert_close(logits[:, :, 1::4, 2::4], expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    assert blueprint.prompts == {"count": 11, "passes": 2, "shared": True, "adapter": False}
    assert blueprint.task == {"name": "seg", "classes": 11, "lovasz": 1.0}
    assert list(blueprint.class_names)[:2] == ["c0", "c1"]
    unused = {key for key, why in imported.report.left.items() if "time MLP" in why}
    assert len(unused) == 4
    assert all(".time_embed." in key for key in unused)


def test_a_second_name_of_the_output_head_must_hold_the_same_values(altered) -> None:
    def touch(weights: dict[str, torch.Tensor]) -> None:
        weights["encoder.cross_unet_conv3.2.bias"] = weights["encoder.cross_unet_conv3.2.bias"] + 1

    with pytest.raises(SchemaMismatch, match=r"cross_unet_conv3\.2\.bias should hold .*diffusion_model\.out\.2\.bias"):
        import_checkpoint(altered("metaprompts_depth_best.ckpt", touch), assembled)


def test_a_vpd_checkpoint_must_have_its_time_mlp(altered) -> None:
    """Only Meta Prompts learns the output of the time MLP and may lack it."""

    def drop(weights: dict[str, torch.Tensor]) -> None:
        for key in [key for key in weights if ".time_embed." in key]:
            del weights[key]

    with pytest.raises(SchemaMismatch, match=r"4 keys missing: backbone\.unet\.time_embedding"):
        import_checkpoint(altered(FILES["depth"], drop), assembled)


def test_later_stable_diffusions_are_refused(altered) -> None:
    key = "model.diffusion_model.input_blocks.1.1.proj_in.weight"
    with pytest.raises(SchemaMismatch, match="a UNet of Stable Diffusion 2 or later"):
        import_checkpoint(altered("ldm_sd_v1_like.ckpt", lambda w: w.update({key: w[key][:, :, 0, 0]})))
    extra = "model.diffusion_model.label_emb.0.0.weight"
    with pytest.raises(SchemaMismatch, match=r"unexpected: model\.diffusion_model\.label_emb"):
        import_checkpoint(altered("ldm_sd_v1_like.ckpt", lambda w: w.update({extra: torch.ones(1)})))


def test_a_plain_model_has_no_head_to_predict_with(published, tmp_path: Path) -> None:
    imported = import_checkpoint(published("ldm_sd_v1_like.ckpt"), assembled)
    with pytest.raises(ConfigError, match="to=diffusers"):
        write_model(tmp_path / "x", imported)
    with pytest.raises(SchemaMismatch, match="without a head"):
        imported.model()
    assert not (tmp_path / "x").exists()


def test_a_blueprint_is_plain_data(imported) -> None:
    _, blueprint = from_pretrained(imported("seg"))
    assert dataclasses.asdict(blueprint)["unet"]["block_out_channels"] == [32, 64, 128, 128]
    assert blueprint.origin["layout"] == "vpd_seg"
