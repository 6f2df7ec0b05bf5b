"""Looking at a folder of somebody's own before anything is declared: which source reads it, and by which options.

seg, depth, refer   the three tasks, put together       guess     what was decided, each with its reason
folders             where the splits are                names     which file belongs to which picture
labels              what label files hold               values    what these values, colours or names mean
classes             class lists beside the data         coco      annotation files in COCO's form
boxes               form and unit of boxes              hdf5      datasets of depth files
sizes               of pictures

Nothing here reads for training: the source that is guessed does, and its own checks have the last word. What cannot be
known from files (a unit of depth, the form of a box) is refused with the words to type.
"""
