"""The engine's compiled functions by name, each with what its machine code depends on. Imports no Numba."""

from __future__ import annotations

from npunet.engine.native import Entry

INFERENCE = ("engine", "layers.py", "ops/activation.py", "ops/exponential.py", "ops/winograd.py")
TRAINING = (*INFERENCE, "engine/training", "ops/losses.py")

SEQ = Entry("npunet.engine.entry", "seq", INFERENCE)
SEQ_FMA = Entry("npunet.engine.entry", "seq_fma", INFERENCE)
TRAIN = Entry("npunet.engine.training.entry", "train", TRAINING)
