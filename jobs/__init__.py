"""The only place with Ray, YAML and command lines. Each job is a file one runs; the work is in the other packages."""
