"""From an integer network to a program. Imports no Numba."""
