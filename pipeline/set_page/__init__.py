"""A finished set as one HTML page, for a person who wants to see what is in it.

survey   its numbers: latents, sizes, bytes, shards, rejects      drawing   a record as a picture, and its labels
page     all of it as one HTML file

Works from the set alone. Pictures of the source, or a decoder of the latents, are the caller's to give.
"""
