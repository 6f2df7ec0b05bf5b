"""The hot loops of reading in C, compiled where a compiler is: the same bytes and the same errors as the Python beside
them, which is used where nothing is compiled"""
