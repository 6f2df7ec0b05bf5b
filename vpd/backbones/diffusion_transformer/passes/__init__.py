"""How each family of transformers is called for its features: one module a family, with

    tokens(network, latents, states, carried, timestep, call) -> Iterator of the picture's tokens `[B, h w / 4, C]`
                                                                 behind each block, in the order they run
    leftover(block) -> modules of the last block that is run which then have no effect

`latents` `[B, c, h, w]`, `states` `[B, T, D]` and `carried` `[B, T, E]` are a context taken apart, `call(block, *args)`
runs a block. Written against diffusers' forward passes of the same networks; tests hold them against those.
"""
