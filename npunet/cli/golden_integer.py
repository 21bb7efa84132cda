"""npunet golden for integer networks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import IntegerModel
from npunet.cli import models, sources

FLOAT_ONLY = {"level": "deploy", "arithmetic": "seq_fma", "backward": False, "bounds": False, "layers": None,
              "size": "auto"}


def golden(model: IntegerModel, arguments: Namespace, progress: Any) -> None:
    """Make the bundle of an integer network, and tell what is in it."""
    from npunet.cli.predict import meaning_of
    from npunet.golden.integer.bundle import MAX_SIZE, golden_integer, refuse_for_integers
    from npunet.golden.writers import FORMATS

    refuse_for_integers(**{name: getattr(arguments, name) != usual for name, usual in FLOAT_ONLY.items()})
    given = None
    if arguments.input is not None:
        face = models.with_float_face(model)
        batch = sources.batch(arguments.input, face, meaning_of(face), arguments)
        print(f"input   {arguments.input}: {batch.told}")
        given = model.quantize_input(_cut(batch.x, model))
    manifest = golden_integer(
        model, arguments.out, inputs=given, kinds=arguments.cases, formats=arguments.formats or FORMATS,
        seed=arguments.seed, max_size=arguments.max_size or MAX_SIZE, target=arguments.target,
        progress=progress)
    out, used, profile = Path(arguments.out), manifest["memory"], manifest["profile"]
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"model   {manifest['model']['name']}: {models.size_of(model)}")
    print(f"profile requantisation {profile['requant']} ({profile['requant_name']}), accumulator "
          f"{profile['accumulator_bits']} bits, bias {profile['bias_bits']} bits")
    print(f"memory  of the generated C: flash {used['flash']:,} bytes, RAM {used['ram']:,} bytes (arena "
          f"{used['arena']:,}, input {used['input']:,}, output {used['output']:,})")
    named = [case["kind"] for case in manifest["cases"] if case["scope"] == "network"]
    alone = sum(case["scope"] == "layer" for case in manifest["cases"])
    print(f"cases   network: {', '.join(named) or 'none'}, {len(manifest['layers'])} layers each; single layers: "
          f"{alone}")
    if manifest["left_out"]:
        print(f"left out, for want of room (--max-size): the cases of {len(manifest['left_out'])} single layers")
    print(f"wrote   {out}: {total / 1e6:.1f} MB in {', '.join(manifest['formats'])}")
    print(f"next    npunet verify {out} {'--run' if arguments.target else 'OUTPUTS'}, or read {out / 'README.txt'}")
    if arguments.score:
        from npunet.verify import score_report
        from npunet.verify.integer import score

        print(score_report.text(score.score(out, progress)), end="")


def _cut(x: Any, model: IntegerModel) -> Any:
    """The real input at the network's size: its beginning. Raises ValueError where it is smaller."""
    size = model.input_shape[:-1]
    if any(have < want for have, want in zip(x.shape[1:-1], size, strict=True)):
        raise ValueError(f"the input is {x.shape[1:-1]}, smaller than the network's {size}; give a longer one")
    return x[(slice(None), *(slice(extent) for extent in size))]
