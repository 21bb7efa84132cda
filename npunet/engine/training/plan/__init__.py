"""From a graph to a program of a whole training step. Imports no Numba."""
