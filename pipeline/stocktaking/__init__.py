"""What of a published dataset is on disk, what is missing, and where to get it. Reads no picture, opens no connection.

facts   the words in which a module of `pipeline.datasets` describes a dataset
names   which datasets are described
look    a folder against a description
words   what was found, as lines of text
"""
