"""Trained models for others: one folder with weights, settings, encoders, digests and a card, here or on a hub.

job       what is asked for                    sources   weights and facts, of a run or of a model folder
encoders  the frozen ones, into the folder     record    what was trained, on what, with which scores: training.json
card      the same for people: README.md       writing   all of it, and the place it goes to

The folder's form is `vpd.exchange.pretrained`'s, and fetching one `diffusion_perception.hub`'s.
"""
