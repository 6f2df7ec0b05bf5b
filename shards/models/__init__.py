"""Where the parts of a Stable Diffusion model lie, by the same rule for a build and a training: names and JSON only.

parts       finds a part and says what it lacks      forms       the files of a part, and which of them count
hub         the Hugging Face hub and its local cache

It lies beneath both sides because they must mean the same weights by the same name. No weights are read here.
"""
