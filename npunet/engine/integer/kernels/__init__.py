"""What each integer instruction does. Imports Numba."""
