"""The engine: a network as a table of instructions, run by one compiled interpreter. Imports Numba only when it runs."""
