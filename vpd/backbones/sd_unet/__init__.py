"""Stable Diffusion's UNet as a backbone: the plug-in `sd_unet`.

unet        the forward pass, its taps and passes          layers      one layer of it, and which give maps
attention   cross-attention that keeps its probabilities   load        weights from a folder or hub id, checked
sizes       a configuration read off the weights           keys        names in original (LDM) checkpoints
folder      a part written as a diffusers folder
"""

from vpd.backbones.sd_unet.unet import SdUnet, build, from_config

__all__ = ["SdUnet", "build", "from_config"]
