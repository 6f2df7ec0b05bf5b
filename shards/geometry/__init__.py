"""The geometry of pictures that both sides share: recorded views, labels cut by them, points moved between them.

A set without pictures needs none of it; the contract and the readers do not import this room.
"""
