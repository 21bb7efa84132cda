"""A training step of npunet and of every installed framework: the same network, weights, batch and optimiser.

    python bench/training.py                       # the three presets; about 5 minutes
    python bench/training.py --quick               # the ECG model, npunet and Keras or PyTorch
    python bench/training.py --models dense-2d --peers npunet,keras --threads 2

A step is forward, cross-entropy with the reference's L2, backward, and SGD with momentum 0.9. Each framework stands in
a process of its own, pinned to its cores. Its first loss is compared with the NumPy definition's, and one that is wrong
is not timed. Rounds go over all of them, each time for a fraction of a second; what is told is the median of the steps,
and of the ratios within a round. `first step` counts from the model in memory to the first loss, the engine compiled.
`of peak` is the share of the machine's FMA peak, three times the forward's multiply-accumulates a step.

Writes training.json and training.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import machine
import numpy as np
import peak
import peers
import subjects
from worker import pin

from npunet import summary

BATCHES = {"ecg-docstring": 32, "separable-2d": 2, "dense-2d": 2}
TARGETS = {"ecg-docstring": 4.0, "separable-2d": 2.0, "dense-2d": 1.3}  # times the fastest framework
RATE, MOMENTUM = 1e-3, 0.9
LIMIT = 1e-4  # of the loss
NEEDS = {"npunet": "numba", "torch": "torch", "torch channels-last": "torch", "torch compile": "torch",
         "keras": "neuralspot_edge", "jax": "jax"}
Step = Callable[[], float]


def data(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """The model, a batch and its labels."""
    model, rng = subjects.build(name), np.random.default_rng(0)
    x = rng.standard_normal((BATCHES[name], *model.input_shape)).astype(np.float32)
    return model, x, rng.integers(0, model.num_classes, x.shape[:-1])


def open_npunet(name: str, threads: int) -> Step:
    from npunet.train.engine_step import EngineStep
    from npunet.train.optimise import SGD

    model, x, labels = data(name)
    step, generator = EngineStep(model, SGD(momentum=MOMENTUM), threads=threads), np.random.default_rng(0)
    return lambda: step.step(x, labels, RATE, generator)


def open_torch(layout: str, compiled: bool = False) -> Callable[[str, int], Step]:
    def opened(name: str, threads: int) -> Step:
        import torch
        from torch_train import TrainingNet

        torch.set_num_threads(threads)
        model, x, labels = data(name)
        net = TrainingNet(model, getattr(torch, layout))
        optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
        forward = torch.compile(net) if compiled else net
        x, labels = torch.from_numpy(x), torch.from_numpy(labels)

        def step() -> float:
            optimiser.zero_grad(set_to_none=True)
            loss = forward(x, labels)
            loss.backward()
            optimiser.step()
            return float(loss.detach())

        return step

    return opened


def open_keras(name: str, threads: int) -> Step:
    """The published network, its train step as a tf.function with the batch size fixed."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # before reference/keras_run, which leaves oneDNN out
    sys.path.append(str(Path(__file__).resolve().parent.parent / "reference"))
    import keras
    import keras_run
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, x, labels = data(name)
    params = peers.keras_params(model.params.to_dict())
    net, layers = keras_run.build(params, model.input_shape, model.num_classes, "float32")
    keras_run.assign(keras_run.variables(layers), dict(model.weights))
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimiser = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    optimiser.build(net.trainable_variables)

    @tf.function
    def train(x, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, net(x, training=True)) + tf.add_n(net.losses)
        optimiser.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return loss

    x, labels = tf.constant(x), tf.constant(labels)
    return lambda: float(train(x, labels).numpy())


def open_jax(name: str, threads: int) -> Step:
    """XLA takes as many threads as it has cores, which are as many as `threads`."""
    from jax_train import make_step

    model, x, labels = data(name)
    step = make_step(model, RATE, MOMENTUM)
    return lambda: step(x, labels)


OPEN = {"npunet": open_npunet, "torch": open_torch("contiguous_format"),
        "torch channels-last": open_torch("channels_last"), "torch compile": open_torch("channels_last", compiled=True),
        "keras": open_keras, "jax": open_jax}


def serve(connection: Any, peer: str, cores: list[int]) -> None:
    """("open", model) gives the first loss and the seconds to it; ("time", seconds) the seconds of each step."""
    pin(cores)
    step = None
    while True:
        try:
            request, argument = connection.recv()
        except EOFError:
            return
        try:
            start = time.perf_counter()
            if request == "open":
                step = OPEN[peer](argument, len(cores))
                start = time.perf_counter()
                answer: Any = (step(), time.perf_counter() - start)
            else:
                answer = []
                while not answer or time.perf_counter() - start < argument:
                    begun = time.perf_counter()
                    step()
                    answer.append(time.perf_counter() - begun)
            connection.send((True, answer))
        except Exception as error:
            connection.send((False, f"{type(error).__name__}: {error}"))


def expected_loss(name: str) -> float:
    """The definition's, in float32."""
    model, x, labels = data(name)
    return float(model.gradients(x, labels, l2=True)[0])


def compare(name: str, names: list[str], threads: int, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Every framework on one model."""
    os.environ.update(peers.ENVIRONMENT)
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    context, lines, found = multiprocessing.get_context("spawn"), {}, {}
    expected = expected_loss(name)
    for peer in names:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, peer, machine.cores(threads)), daemon=True)
        process.start()
        there.close()
        here.send(("open", name))
        good, answer = received(here)
        if good and not abs(answer[0] - expected) <= LIMIT * abs(expected):
            good, answer = False, f"its loss is {answer[0]:.6f}, the definition's {expected:.6f}"
        found[peer] = {"first": answer[1], "rounds": []} if good else {"fault": answer}
        if good:
            lines[peer] = here
    order = list(lines)
    for number in range(rounds):
        for peer in order[number % len(order) :] + order[: number % len(order)]:
            lines[peer].send(("time", seconds))
            good, answer = received(lines[peer])
            if good:
                found[peer]["rounds"].append(statistics.median(answer))
    return found


def received(line: Any) -> tuple[bool, Any]:
    try:
        return line.recv()
    except EOFError:
        return False, "its process ended"


def table(name: str, found: dict[str, dict[str, Any]], threads: int, peak_gflops: float) -> list[str]:
    macs = BATCHES[name] * sum(row.macs for row in summary.rows(subjects.build(name).graph))
    timed = {peer: result["rounds"] for peer, result in found.items() if result.get("rounds")}
    lines = [f"### {name}, batch {BATCHES[name]}, {threads} thread{'s' * (threads > 1)}", "",
             "| step of | ms | times npunet | of peak | first step, s |", "|---|---|---|---|---|"]
    for peer, rounds in timed.items():
        seconds = statistics.median(rounds)
        ratio = statistics.median(theirs / ours for theirs, ours in zip(rounds, timed["npunet"], strict=True)) \
            if "npunet" in timed else float("nan")
        lines.append(f"| {peer} | {1e3 * seconds:.1f} | {ratio:.2f} | {6e-9 * macs / seconds / peak_gflops:.0%} "
                     f"| {found[peer]['first']:.2f} |")
    lines += [f"\nNot timed: {peer}: {result['fault']}" for peer, result in found.items() if "fault" in result]
    return [*lines, "", f"Wanted: {TARGETS[name]} times the fastest of the others.", ""]


def main() -> int:
    """Measure and write; 1 when something that is installed does not compute the network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--peers", default=",".join(OPEN))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).resolve().parent / "results")
    options = parser.parse_args()
    models = ["ecg-docstring"] if options.quick else options.models.split(",")
    names = [peer for peer in options.peers.split(",") if find_spec(NEEDS[peer])]
    rounds = 3 if options.quick else options.rounds
    flops = peak.fma_peak(options.threads)
    gflops = flops if isinstance(flops, float) else max(flops.values())
    results, lines = {"machine": machine.describe(), "fma_gflops": gflops, "threads": options.threads}, []
    for name in models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = compare(name, names, options.threads, rounds, options.seconds)
        lines += table(name, results[name], options.threads, gflops)
        print("\n".join(lines[-12:]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "training.json").write_text(json.dumps(results, indent=1))
    (options.out / "training.md").write_text("\n".join(lines))
    return int(any("fault" in result for name in models for result in results[name].values()))


if __name__ == "__main__":
    sys.exit(main())
