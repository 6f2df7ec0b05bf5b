"""Pre-training of the demo's tiny Stable Diffusion on the demo's own world: `python -m demo.pretrain --help`."""
