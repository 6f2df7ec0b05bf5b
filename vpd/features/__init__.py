"""What lies inside a diffusion model, read while it looks at a picture: any layer of any family, and attention.

Owns the arithmetic of one reading: what is fed to the network (`noising`), which layers are read (`taps`), which words
are looked at where (`attention`), and how each family of models is called (`families`, one module each). Pictures,
prompts, batches and ensembles are `diffusion_perception.features`'. Training on a model's features is another matter,
of `vpd.backbones`: that changes the network, this leaves it as its authors' library runs it.
"""
