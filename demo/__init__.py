"""A small synthetic world in the official dataset layouts, and a tiny model: everything `make demo` needs, offline."""
