"""Benchmarks: Vyry beside the smallest server that could keep the same promise. `python -m bench.run` measures, bench/RESULTS.md tells."""
