"""What a job will be, before it starts: assembled without weights, refused if the job itself would be, and counted.

training    a training run: the order of the checks, groups, schedule
sets        what a run needs of its sets, beyond what `diffusion_perception.assembly.fit` compares
unbuilt     what is assumed of a set that is not built yet
network     the network on the meta device, tried on a batch's shapes
figures     a run's parameters, bytes and shapes, for a person

That of a build is `diffusion_perception.building.forecast`.

Nothing here knows Ray, places a worker or loads a weight. Both the dry run of a command and the command itself ask
here first, so a wrong setting never reaches a worker.
"""
