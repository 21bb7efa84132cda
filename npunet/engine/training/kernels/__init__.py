"""What one instruction of a training step does, and its interpreter. Imports Numba."""
