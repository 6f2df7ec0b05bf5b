"""Parts that live outside the project, one file each: a dataset, two frozen encoders, a backbone, a task and a head.

Nothing is registered. A configuration names a module by its dotted name, wherever Python finds it:

    PYTHONPATH=examples jobs/build_shards.py ... source.name=outside.squares image.name=outside.patch_means
"""
