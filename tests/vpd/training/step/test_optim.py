"""Parameter groups and learning-rate curves, against what the official code was seen to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diffusion_perception.assembly.network import build_head
from diffusion_perception.assembly.parts import build_schedule
from shards.errors import ConfigError
from vpd.backbones.sd_unet.keys import unet_key
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.refer import task as refer
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import PRESETS, GroupRule, build_optimizer, named_groups


@pytest.fixture
def model(make_unet):
    backbone = make_unet()
    return Perception(backbone, TextAdapter(64), build_head(refer.build(), backbone.spec(40)))


def by_name(model, preset, **settings):
    return {g["name"]: g for g in named_groups(model, OptimConfig(preset=preset, **settings))}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_trainable_parameter_is_in_exactly_one_group(preset, model):
    model.adapter.gamma.requires_grad_(False)
    groups = named_groups(model, OptimConfig(preset=preset))
    sorted_names = sorted(name for group in groups for name in group["names"])
    assert sorted_names == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert len({id(p) for g in groups for p in g["params"]}) == len(sorted_names)


def test_groups_hold_what_the_official_groups_hold(model, golden_refer, refer_weights):
    """Counts, sizes and decay as recorded; the UNet's unused output head (4 tensors) is all that may be missing."""
    official = {group["name"]: group for group in golden_refer.facts["optimizer_groups"]}
    ours = by_name(model, "effective", lr=5e-5, weight_decay=1e-2)
    assert set(ours) == {"backbone_norm", "backbone", "rest"}  # "no_decay" is empty there too
    sizes = {name: (len(g["names"]), sum(p.numel() for p in g["params"])) for name, g in ours.items()}
    head = [v for k, v in refer_weights.items() if k.startswith("unet.unet.diffusion_model.out.")]
    assert sizes["backbone_norm"] == (official["lesslr_no_decay"]["n"], official["lesslr_no_decay"]["numel"])
    assert sizes["rest"] == (official["decay"]["n"], official["decay"]["numel"])
    assert sizes["backbone"] == (
        official["lesslr_decay"]["n"] - len(head),
        official["lesslr_decay"]["numel"] - sum(v.numel() for v in head),
    )
    for name, theirs in (("backbone_norm", "lesslr_no_decay"), ("backbone", "lesslr_decay"), ("rest", "decay")):
        assert ours[name]["weight_decay"] == official[theirs]["weight_decay"]
        assert ours[name]["lr"] == official[theirs]["lr"]  # every published group runs at the full rate
    assert by_name(model, "declared", lr=1.0)["backbone"]["lr"] == official["lesslr_decay"]["lr_scale"]


def test_the_norm_group_is_the_official_substring_rule_on_original_names(model, refer_weights):
    prefix = "unet.unet.diffusion_model."
    unet = [k.removeprefix(prefix) for k in refer_weights if k.startswith(prefix)]
    expected = {f"backbone.unet.{unet_key(k)}" for k in unet if "norm" in k}
    groups = by_name(model, "effective")
    assert set(groups["backbone_norm"]["names"]) == expected
    assert any(".resnets.0.norm1." in name for name in groups["backbone"]["names"])  # called in_layers.0 there


@pytest.mark.parametrize(("preset", "factor"), [("paper", 0.1), ("declared", 0.01), ("effective", 1.0)])
def test_presets_differ_in_the_unets_rate_only(preset, factor, model):
    groups = by_name(model, preset, lr=1e-3, weight_decay=0.5)
    assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
        "backbone_norm": (1e-3 * factor, 0.0),
        "backbone": (1e-3 * factor, 0.5),
        "rest": (1e-3, 0.5),
    }
    assert PRESETS["vpd_paper"] == PRESETS["paper"]
    assert PRESETS["vpd_code"] == PRESETS["effective"]


def test_an_unknown_preset_lists_the_choices():
    with pytest.raises(ConfigError, match=r"'vpd' is unknown; choose one of .*depth, .*effective, .*vpd_code"):
        named_groups(nn.Linear(2, 2), OptimConfig(preset="vpd"))


def test_a_parameter_that_no_rule_takes_is_an_error():
    with pytest.raises(ConfigError, match="no group takes parameter 'bias'"):
        named_groups(nn.Linear(2, 2), OptimConfig(), rules=[GroupRule("weights", "weight")])


def test_a_network_of_which_nothing_learns_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing of this network learns.* such as model\.train=lora"):
        named_groups(nn.Linear(2, 2).requires_grad_(False), OptimConfig())


@pytest.mark.parametrize(("preset", "factor"), [("depth", 0.01), ("depth_paper", 0.1)])
def test_depth_rules_sort_by_dimension(preset, factor, model):
    groups = by_name(model, preset, lr=1e-3, weight_decay=0.5)
    assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
        "backbone_no_decay": (1e-3 * factor, 0.0),
        "backbone": (1e-3 * factor, 0.5),
        "no_decay": (1e-3, 0.0),
        "rest": (1e-3, 0.5),
    }
    for name, group in groups.items():
        assert all((p.ndim == 1) == name.endswith("no_decay") for p in group["params"])
        assert all(n.startswith("backbone.") == name.startswith("backbone") for n in group["names"])


def test_the_optimiser_keeps_names_rates_and_decay():
    settings = OptimConfig(lr=0.1, weight_decay=0.2, betas=(0.8, 0.9))
    rules = [GroupRule("w", "weight", lr_factor=0.5), GroupRule("b", "", decay=False)]
    optimizer = build_optimizer(named_groups(nn.Linear(2, 2), settings, rules), settings)
    assert [(g["name"], g["lr"], g["weight_decay"], g["betas"]) for g in optimizer.param_groups] == [
        ("w", 0.05, 0.2, (0.8, 0.9)),
        ("b", 0.1, 0.0, (0.8, 0.9)),
    ]


def test_poly_equals_the_official_refer_schedule(golden_refer):
    facts = golden_refer.facts["lr_schedule"]
    curve = build_schedule({"name": "poly", "power": 0.9}, total=facts["total_iters"], steps_per_epoch=100)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=5e-5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, curve)
    for step in range(facts["total_iters"] + 1):
        if str(step) in facts["lr"]:
            assert scheduler.get_last_lr()[0] == pytest.approx(facts["lr"][str(step)], rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_two_phase_equals_the_official_depth_schedule(golden_depth_metrics):
    facts = golden_depth_metrics.facts["lr_schedule"]
    steps = facts["iters_per_epoch"]
    floor = facts["min_lr"] / facts["max_lr"]
    curve = build_schedule({"name": "two_phase", "floor": floor}, total=steps * facts["epochs"], steps_per_epoch=steps)
    found = [facts["max_lr"] * curve(step) for step in range(steps * facts["epochs"])]
    assert found == pytest.approx([lr for lr, _ in facts["lr_per_step"]], rel=1e-12)


def test_poly_with_warm_up_starts_low_and_meets_the_bare_curve():
    """mmcv's linear warm-up: the running poly value times a ramp from the ratio to 1."""
    settings = {"name": "poly", "power": 1.0, "warmup_steps": 1500, "warmup_ratio": 1e-6}
    warm = build_schedule(settings, total=80_000, steps_per_epoch=1263)
    bare = build_schedule({"name": "poly", "power": 1.0}, total=80_000, steps_per_epoch=1263)
    assert warm(0) == pytest.approx(1e-6)
    assert warm(750) == pytest.approx(0.5 * bare(750), rel=1e-5)
    assert [warm(s) for s in (1500, 40_000, 80_000)] == [bare(1500), 0.5, 0.0]


def test_rise_and_fall_follow_mmsegs_points():
    """docs/methods/depth.md#mmsegmentation: 3e-5 to 1e-3 at 12k, back at 24k, flat to 25k; in between step by step."""
    curve = build_schedule({"name": "rise_fall"}, total=25_000, steps_per_epoch=757)
    assert [curve(s) for s in (0, 6000, 12_000, 24_000, 24_999)] == pytest.approx([0.03, 0.515, 1.0, 0.03, 0.03])
    value = 1.0
    for step in range(1, 9001):  # (value - floor) * (1 - 1 / steps left) ** power + floor
        value = (value - 0.03) * (1 - 1 / (12_000 - step + 1)) ** 0.9 + 0.03
    assert curve(21_000) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"name": "cosine"}, "no module vpd.training.schedules.cosine"),
        ({"name": "rise_fall", "rise": 0.6, "fall": 0.5}, "rise 0.6 and fall 0.5; expected positive shares"),
        ({"power": 0.9}, "needs a 'name'"),
        ({"name": "poly", "powr": 0.9}, "unknown setting 'optim.schedule.powr'. Did you mean 'power'"),
        ({"name": "two_phase"}, "needs two epochs, the run has 1.00"),
    ],
)
def test_wrong_schedule_settings_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        build_schedule(settings, total=10, steps_per_epoch=10)
