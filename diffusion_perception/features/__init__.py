"""Features of a frozen diffusion model, in three lines of Python.

Owns what a caller gives, pictures or stored latents, prompts and ensembles (`reading`), and what was `seen`. One pass
of a network, and what is read of it, is `vpd.features`'.
"""
