"""One module or folder per dataset, found by its name: `pipeline.sources.<name>.build(**options)` returns a Source.

The protocol itself is `pipeline.example.Source`. `pairs` has no `build`: it is what several sources are made of.
"""
