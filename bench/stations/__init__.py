"""Where the time of one envelope goes: `make bench ARGS=--stations`."""
