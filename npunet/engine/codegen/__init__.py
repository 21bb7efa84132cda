"""How machine code is made: LLVM instructions, vectors, and the compiler settings. Imports Numba."""
