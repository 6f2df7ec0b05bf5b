"""Text encoders of families that have several text models, or another one than CLIP; private to the encoders.

parts    one text model with its tokenizer: CLIP, T5      joined   what an encoder of several of them promises
sdxl     SDXL: two CLIPs                                  pixart   PixArt-Sigma: T5
sd3      Stable Diffusion 3: two CLIPs and T5             flux     FLUX.1: T5 and CLIP
facts    their sizes, from the configs alone

Whatever a family is told beside the states of tokens (pooled text, which tokens are words) every token carries behind
its state, so that any choice of tokens is a context: sentences, one pooled row a class, a table of all classes.
"""
