"""What one instruction does, and the interpreter that walks a program. Imports Numba."""
