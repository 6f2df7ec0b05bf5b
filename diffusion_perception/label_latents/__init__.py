"""Label latents: depth or normals of a finished set, encoded by its own VAE, in a set of the same keys (Marigold).

Owns the settings (`job`), depth as a picture for the VAE and back (`scaling`; normals are `shards.geometry.normals`'),
what such a set is (`contents`) and one process that makes it (`maker`). How a set is made shard by shard is
`diffusion_perception.baking`'s.
"""
