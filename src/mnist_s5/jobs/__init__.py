"""Notebooks as jobs: their parameters, runs, sweeps, and the comparison of runs."""
