"""What a full-size depth step may cost, counted on shapes alone (D1 and D5 of docs/methods/performance.md#bars)."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from diffusion_perception.assemble import build_head
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.depth import task as depth

STEP_GFLOP = 2801.0  # depth from 480 x 480 pixels padded to 512 x 512, latents given
SD15 = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8}


def attention(query, key, value, *_, out_shape=None, **__):
    batch, heads, pixels, channels = query
    return 2 * batch * heads * pixels * key[-2] * (channels + value[-1])


def attention_backward(_grad, query, key, value, *_, **__):
    return 2 * attention(query, key, value)


def test_a_full_size_depth_step_meets_the_flop_bar():
    aten = torch.ops.aten
    kernels = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
    }
    with FakeTensorMode():
        task, backbone = depth.build(), SdUnet.from_config(SD15, attention_maps="")
        head = build_head(task, backbone.spec(1))
        model = Perception(backbone, TextAdapter(768), head, class_embeddings=torch.zeros(27, 768), tokens=1)
        labels = {"depth": torch.ones(1, 480, 480), "class_id": torch.zeros(1, dtype=torch.int64)}
        batch = DeviceBatch(torch.zeros(1, 4, 64, 64), None, labels)
        with FlopCounterMode(display=False, custom_mapping=kernels) as counter:
            loss = task.loss(model(batch.latents, task.context(batch), task.out_size_px(batch)), batch)
            forward = counter.get_total_flops() / 1e9
            loss.backward()
        step = counter.get_total_flops() / 1e9
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert step <= STEP_GFLOP * 1.001
    assert forward == pytest.approx(771.1 + 162.4, rel=1e-3)  # UNet collapsed, head
    assert frozen == pytest.approx(22.0e6, rel=2e-3)
