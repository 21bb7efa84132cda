"""The engine's machine code for processors that this machine is not, run by an emulator of one: 0 differences?

    python reference/emulated.py draw FILE                    # networks, inputs, and what NumPy's definitions give
    python reference/emulated.py compile MACHINE FOLDER       # the engine for that machine, into that folder
    python reference/emulated.py check MACHINE FILE           # in the emulator: run the networks; exit status 0 or 1

avx512.sh does all three. MACHINE is one of MACHINES: LLVM compiles for a processor by name, and the emulated one is
told to be that, since emulators know fewer names than LLVM does. Nothing but NumPy and llvmlite is needed to check.
"""

from __future__ import annotations

import pickle
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE.parent / "tests", HERE):
    sys.path.insert(0, str(folder))

AVX2 = "+64bit +avx +avx2 +bmi +bmi2 +cmov +cx16 +cx8 +f16c +fma +fxsr +lzcnt +mmx +movbe +popcnt +sse +sse2 +sse3 " \
       "+sse4.1 +sse4.2 +ssse3"
AVX512 = f"{AVX2} +avx512f +avx512bw +avx512cd +avx512dq +avx512vl"
# what a name stands for in LLVM and the emulated machine has not
NOT = "-avx512bf16 -avx512bitalg -avx512ifma -avx512vbmi -avx512vbmi2 -avx512vpopcntdq -gfni -vaes -vpclmulqdq -sha " \
      "-pku +prefer-no-gather"  # of Bochs 3.0's vpgatherqd some are illegal instructions that processors have
WITHOUT_512 = f"-avx512f -avx512bw -avx512cd -avx512dq -avx512vl -avx512vnni {NOT}"


class Machine(NamedTuple):
    """A processor by LLVM's name, its features, and which networks show what is its own."""

    cpu: str
    features: str
    kinds: tuple[str, ...]


MACHINES = {
    "avx512": Machine("skylake-avx512", f"{AVX512} -avx512vnni {NOT}", ("integer", "float")),
    "avx512-vnni": Machine("cascadelake", f"{AVX512} +avx512vnni {NOT}", ("integer",)),
    "avx512-one-fma": Machine("znver4", f"{AVX512} +avx512vnni {NOT}", ("integer",)),
    "avx-vnni": Machine("alderlake", f"{AVX2} +avxvnni {WITHOUT_512}", ("integer",)),
}


class Features(dict):
    """As llvmlite tells them."""

    def flatten(self, sort: bool = True) -> str:
        """One line."""
        return ",".join(sign + name for name, has in self.items() for sign in ("+" if has else "-",))


def become(machine: Machine) -> None:
    """Let LLVM, Numba and npunet take this process for one on that machine. Before any of these has looked."""
    features = Features((word[1:], word[0] == "+") for word in machine.features.split())
    llvm.get_host_cpu_name = lambda: machine.cpu
    llvm.get_host_cpu_features = lambda: features


def draw(path: str) -> None:
    """Write what is to be run: integer networks of the tests, random graphs, and the definition's results."""
    from engine_cases import ARITHMETICS
    from integer_judges import CASES, SCHEMES, STORED, calibration, float_model, integers, manifest
    from random_graphs import draw as random_graph
    from random_integers import random_network

    import npunet
    from npunet.deploy import deploy
    from npunet.integer import run as integer_run
    from npunet.run import infer

    rng, records = np.random.default_rng(11), []

    def integer(name: str, network: Any, x: np.ndarray, **planned: Any) -> None:
        x = x.reshape(len(x), *network.tensors[network.input].shape)
        records.append(("integer", name, network, x, integer_run.infer(network, x), planned))

    for seed in range(300):
        network, x = random_network(seed)
        integer(f"random {seed}", network, x)
        if seed % 3 == 0:
            integer(f"random {seed}, in turns", network, x, threads=3, large=1, near=100)
            integer(f"random {seed}, plain", network, x, fuse=False, in_place=False)
    for file in sorted(manifest()):
        model = npunet.load(STORED / "integer" / file)
        integer(file, model.network, integers(model, 1, rng))
    plans: tuple[dict[str, Any], ...] = ({}, {"threads": 3}, {"fuse": False, "in_place": False},
                                         {"large": 1, "near": 2000})
    for number, name in enumerate(CASES):
        for scheme in SCHEMES:
            for rounding in "DS":
                model = npunet.quantize(float_model(name), calibration(name), scheme=scheme, rounding=rounding)
                integer(f"{name} {scheme} {rounding}", model.network, integers(model, 2, rng),
                        **plans[(number + "DS".index(rounding)) % len(plans)])
    for seed in range(200):
        graph, weights, x = random_graph(seed)
        deployed = deploy(graph, weights)
        for arithmetic in ARITHMETICS:
            expected = infer(*deployed, x, arithmetic=arithmetic)
            records.append(("float", f"graph {seed} {arithmetic}", (graph, weights), x, expected,
                            {"arithmetic": arithmetic, "threads": 1 + seed % 3}))
    with open(path, "wb") as file:
        pickle.dump(records, file)
    print(f"{len(records)} networks in {path}")


def compile_for(machine: Machine, folder: str) -> None:
    """The functions that the machine's networks need, compiled and kept as if this were it."""
    from npunet.engine.runtime import entry_points
    from npunet.engine.runtime.object_code import write

    Path(folder).mkdir(parents=True, exist_ok=True)
    wanted = [entry_points.INTEGER] + [entry_points.SEQ, entry_points.SEQ_FMA] * ("float" in machine.kinds)
    for entry in wanted:
        path = Path(folder) / entry._file_name()
        if not path.exists():
            write(path, import_module(entry.module).compile_entry(entry.name))
        print(path, flush=True)


def by_engine(kind: str, network: Any, x: np.ndarray, options: dict[str, Any]) -> np.ndarray | None:
    """What the engine gives; None for a graph that it refuses."""
    from npunet.engine.integer.engine import IntegerEngine
    from npunet.engine.integer.plan.program import compile_integer_program
    from npunet.engine.runtime.engine import Engine
    from npunet.limits import Unsupported
    from npunet.weights import WeightStore

    if kind == "integer":
        engine: Any = IntegerEngine(network, options.get("threads", 1))
        if options:
            engine.program = compile_integer_program(network, bytes=engine.native.bytes, **options)
        if engine.program.threads > 1:  # which share a sample
            return np.concatenate([engine(x[n : n + 1]) for n in range(len(x))])
        return engine(x)
    graph, weights = network
    try:
        return Engine(graph, WeightStore(weights, np.dtype(np.float32)), **options)(x)
    except Unsupported:
        return None


def check(machine: Machine, path: str) -> int:
    """Run what is drawn; the number of networks that differ, 1 at most."""
    from npunet.engine.runtime import runner
    from npunet.engine.target import target_of

    runner.WORTH_A_THREAD = 1  # threads share whatever there is
    with open(path, "rb") as file:
        records = pickle.load(file)
    told = target_of(llvm.get_default_triple(), machine.cpu, llvm.get_host_cpu_features().flatten())
    print(f"{machine.cpu}: register tiles {told.name}, {told.dot}, {told.byte_dot or 'no dot products of bytes'}")
    ran = values = wrong = refused = 0
    begun = time.monotonic()
    for kind, name, network, x, expected, options in records:
        if kind not in machine.kinds:
            continue
        got = by_engine(kind, network, x, options)
        if got is None:
            refused += 1
            continue
        got = got.reshape(expected.shape)
        same = got == expected
        if kind == "float":  # +0 is not -0; any NaN is as good as another
            same = (got.view("i4") == expected.view("i4")) | (np.isnan(got) & np.isnan(expected))
        if not same.all():
            wrong += 1
            print(f"DIFFERS {kind} {name} {options}", flush=True)
        ran, values = ran + 1, values + expected.size
        if ran % 100 == 0:
            print(f"{ran} networks, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{ran} networks, {values:,} values, {refused} graphs refused: {wrong} differ", flush=True)
    return min(wrong, 1)


def main() -> int:
    """What the first word asks for."""
    verb, *words = sys.argv[1:] or ["help"]
    if verb == "draw" and len(words) == 1:
        draw(words[0])
    elif verb in ("compile", "check") and len(words) == 2 and words[0] in MACHINES:
        become(MACHINES[words[0]])
        if verb == "check":
            return check(MACHINES[words[0]], words[1])
        compile_for(MACHINES[words[0]], words[1])
    else:
        print(f"{__doc__}\nMACHINE is one of {', '.join(MACHINES)}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
