"""From a graph to a program: the instruction table, its constants, and where its tensors stand. Imports no Numba."""
