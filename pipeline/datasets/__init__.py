"""Published datasets as facts: one module a dataset, found by its name, with a `describe()`.

What a dataset is made of, where it is, under which terms, in the words of `pipeline.stocktaking.facts`. Layouts and
counts are taken from the sources that read them, terms from their cards; archives, mirrors and hashes stand here alone.
"""
