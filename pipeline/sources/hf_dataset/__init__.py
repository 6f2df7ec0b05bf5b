"""A Hugging Face `datasets` dataset by the names of its columns: the source `hf_dataset`.

source    the options, and which kind of data the columns are     rows      one split, read at random; a value as a file
place     where a dataset lies, and opening it                    kinds     segmentation and depth of rows
refs      sentences and what they mean, of rows                   pictures  pictures of rows, with or without captions
"""

from pipeline.sources.hf_dataset.source import build

__all__ = ["build"]
