"""One module per dataset, found by its name: `pipeline.sources.<name>.build(**options)` returns a Source.

The protocol itself is `pipeline.example.Source`. `refer_reader` and `coco_masks` have no `build`: they are the file
formats that the RefCOCO family shares.
"""
