"""Other messaging servers under the load of bench/shapes.py: `make bench ARGS=--peers`."""
