"""npunet golden: the numbers that a port of a network has to reproduce, in one folder."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import IntegerModel
from npunet.cli import golden_integer, inputs, models, sources, values
from npunet.cli.predict import meaning_of
from npunet.cli.trace import padded

BAR = 28


def add(verbs: Any) -> None:
    """Arguments of `npunet golden`."""
    parser = models.verb(verbs, "golden", golden, "write the golden bundle of a network for C, HLS or Verilog ports",
                         "npunet golden ecg --input ludb/data/1 --leads ii -o golden")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("--input", metavar="FILE", help=f"real input, one more case; {inputs.HELP}")
    parser.add_argument("-o", "--out", metavar="DIR", default="golden", help="folder to write (default golden)")
    parser.add_argument("--level", choices=("trained", "deploy"), default="deploy",
                        help="batch norm folded (deploy, the default), or every layer by itself")
    parser.add_argument("--arithmetic", choices=("seq", "seq_fma"), default="seq_fma",
                        help="declared order of summation, with or without a fused multiply-add (default seq_fma)")
    parser.add_argument("--cases", metavar="NAME,...", type=values.names,
                        help="random,zeros,impulse,saturate,ties,layers; of an integer network random,zeros,minimum,"
                        "maximum,impulse,signal (default: all)")
    parser.add_argument("--formats", metavar="NAME,...", type=values.names, help="npz,bin,c,hex (default: all)")
    parser.add_argument("--backward", action="store_true",
                        help="also gradients, batch-norm statistics and one SGD step")
    parser.add_argument("--bounds", action="store_true", help="also the error bound of every element")
    parser.add_argument("--layers", metavar="NAME,...", type=values.names,
                        help="store the tensors of these layers only")
    parser.add_argument("--size", metavar="L|HxW|full", type=values.size, default="auto",
                        help="size to run at (default: the model's, or a smaller one that fits into --max-size)")
    parser.add_argument("--max-size", metavar="BYTES", type=values.byte_count,
                        help="of stored tensors, each counted once, without --backward's, such as 18M (the default)")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the generated inputs (default 0)")
    parser.add_argument("--target", metavar="NAME",
                         help="also what a board needs to run it (start-up, linker script, output): cortex-m3, "
                         "cortex-m4, cortex-m7, cortex-m33, cortex-m55, aarch64, riscv64; then npunet verify DIR --run")
    parser.add_argument("--score", action="store_true",
                        help="also run faulty kernels against the bundle and write which case catches which")
    inputs.add_arguments(parser)


def golden(arguments: Namespace) -> None:
    """Read, make, tell what was made."""
    from npunet.golden.bundle import golden as make

    if arguments.input is None:
        inputs.refuse_options(arguments, "there is no --input")
    opened = models.open_model(arguments.model)
    if isinstance(opened, IntegerModel):
        golden_integer.golden(opened, arguments, show if sys.stderr.isatty() else None)
        return
    model = models.network_of(opened)
    given: dict[str, Any] = {key: getattr(arguments, key) for key in ("cases", "formats", "max_size", "target")}
    if arguments.input is not None:
        batch = sources.batch(arguments.input, opened, meaning_of(opened), arguments)
        given["inputs"] = padded(model, batch.x)
        print(f"input   {arguments.input}: {batch.told}")
    given["weights"] = "drawn" if models.is_described(arguments.model) else "given"
    manifest = make(
        model, arguments.out, level=arguments.level, arithmetic=arguments.arithmetic, backward=arguments.backward,
        bounds=arguments.bounds, layers=arguments.layers, size=arguments.size, seed=arguments.seed,
        progress=show if sys.stderr.isatty() else None,
        **{key: value for key, value in given.items() if value is not None},
    )
    tell(manifest, Path(arguments.out), models.size_of(model), arguments.target)
    if arguments.score:
        from npunet.verify import mutants, score_report

        print(score_report.text(mutants.score(arguments.out, show if sys.stderr.isatty() else None)), end="")


def tell(manifest: dict[str, Any], out: Path, model: str, target: str | None) -> None:
    """What is in the bundle, in a few lines."""
    from npunet.golden.blind import in_words
    from npunet.golden.drawn import TOLD

    described, cases = manifest["model"], manifest["cases"]
    sized = "x".join(map(str, described["input_shape"]))
    network = [case["kind"] for case in cases if case["scope"] == "network"]
    alone = sum(case["scope"] == "layer" for case in cases)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"model   {described['name']}: {model}")
    print(f"run at  {sized} (H x W x C), {len(manifest['layers'])} layers, level {manifest['profile']['level']}, "
          f"{manifest['profile']['float_order']}")
    print(f"weights {TOLD[described['weights_are']]}")
    print(f"cases   network: {', '.join(network) or 'none'}; single layers: {alone}"
          + ("; backward" if manifest["backward"] else ""))
    for spot in manifest["cannot_see"]:
        print(f"cannot see: {in_words(spot)}")
    print(f"wrote   {out}: {total / 1e6:.1f} MB in {', '.join(manifest['formats'])}")
    print(f"next    npunet verify {out} {'--run' if target else 'OUTPUTS'}, or read {out / 'README.txt'}")


def show(done: int, total: int, what: str) -> None:
    """A progress bar on a terminal."""
    filled = BAR * done // max(1, total)
    end = "\r\033[K" if what == "done" else ""
    bar = f"[{'=' * filled}{' ' * (BAR - filled)}]"
    print(f"\r\033[K{bar} {done}/{total} {what}{end}", end="", file=sys.stderr, flush=True)
