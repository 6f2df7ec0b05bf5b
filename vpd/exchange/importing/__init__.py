"""Checkpoints of other projects, read safely and mapped strictly.

    files       a file to named tensors, without ever running what a pickle asks for
    layouts     which project wrote it, and under which prefixes its parts lie (data)
    sizes       what the head's weights say about tokens, classes and maps
    official    the whole way: a file to weights and blueprints of ours

What became of every key, and the refusal when they do not fit, is `vpd.exchange.report`'s. Nothing here is needed to
train or predict; `vpd.exchange.pretrained` loads what an import wrote.
"""
