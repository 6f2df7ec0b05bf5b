"""Tar files of others, read at random where they lie: what img2dataset and WebDataset write, in a folder or at a URL.

headers   the walk from header to header, and what no tar of pictures may hold     index     members of one tar, kept
places    where tars lie: listing them, and bytes of one                           reading   members of many tars
unpacked  gzipped tars of this machine
"""
