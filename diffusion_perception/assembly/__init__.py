"""From a training configuration to the objects a run is made of: the joints between packages that do not know each
other.

parts        task and learning-rate curve
sets         shard sets, their mixture, their class table
network      backbone, conditioning and head
companions   the frozen encoders that go with a backbone
fit          whether a backbone can learn from a set, by what both say of themselves
run          all of it, as the training loop takes it
"""
