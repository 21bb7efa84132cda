"""From a program to results: machine code from disk, memory, threads, the engines that a model keeps. No Numba."""
