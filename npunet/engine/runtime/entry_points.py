"""The engine's compiled functions by name, each with what its machine code depends on. Imports no Numba."""

from __future__ import annotations

from npunet.engine.runtime.native import Entry

INFERENCE = ("engine/codegen", "engine/kernels", "engine/plan", "engine/target.py", "layers.py", "ops/activation.py",
             "ops/exponential.py", "ops/winograd.py")
TRAINING = (*INFERENCE, "engine/training/kernels", "engine/training/plan", "ops/losses.py")

SEQ = Entry("npunet.engine.kernels.compile", "seq", INFERENCE)
SEQ_FMA = Entry("npunet.engine.kernels.compile", "seq_fma", INFERENCE)
ENTRIES = {"seq": SEQ, "seq_fma": SEQ_FMA, "winograd": SEQ_FMA}  # winograd is another program, not another interpreter
TRAIN = Entry("npunet.engine.training.kernels.compile_step", "train", TRAINING, "the engine's training step", 120)

INTEGER = Entry("npunet.engine.integer.kernels.compile", "integer",
                (*INFERENCE, "engine/integer/kernels", "engine/integer/plan", "integer/fixed_point.py",
                 "integer/ops/softmax.py"), "the integer engine", 15)
