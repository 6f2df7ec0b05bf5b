"""Looking at every picture and label of a dataset before any encoder runs.

look       one example, looked at: what is kept of it      tally      many of them, counted
labels     what its dense labels hold                      findings   what a person must know of a split
drawing    the picture and what is said of it              page       all of it as one HTML file
markup     what pages are made of

Works for every `pipeline.example.Source` through `load` alone; which source, and what is refused, the caller decides.
"""
