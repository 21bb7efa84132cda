"""npunet golden and npunet verify for integer networks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import IntegerModel
from npunet.cli import models, sources

FLOAT_ONLY = {"level": "deploy", "arithmetic": "seq_fma", "backward": False, "bounds": False, "layers": None,
              "size": "auto"}
FLOAT_ONLY_IN_VERIFY = {"bounded": False, "flush_to_zero": False, "finite_math": False, "layout": None,
                        "time_limit": None, "junit": None, "html": None, "picture": None}


def refuse(arguments: Namespace, only: dict[str, Any]) -> None:
    """Refuse options that mean nothing for integers."""
    given = [f"--{name.replace('_', '-')}" for name, usual in only.items() if getattr(arguments, name) != usual]
    if given:
        raise ValueError(f"{', '.join(given)} is for float networks; integers are exact and have one order: leave it "
                         "out")


def golden(model: IntegerModel, arguments: Namespace, progress: Any) -> None:
    """Make the bundle of an integer network, and tell what is in it."""
    from npunet.cli.predict import meaning_of
    from npunet.golden.integer.bundle import MAX_SIZE, golden_integer
    from npunet.golden.writers import FORMATS

    refuse(arguments, FLOAT_ONLY)
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
    print(f"cases   {', '.join(case['kind'] for case in manifest['cases'])}: {len(manifest['layers'])} layers each")
    print(f"wrote   {out}: {total / 1e6:.1f} MB in {', '.join(manifest['formats'])}")
    print(f"next    npunet verify {out} {'--run' if arguments.target else 'OUTPUTS'}, or read {out / 'README.txt'}")
    if arguments.score:
        from npunet.verify.integer import score

        print(score.text(score.score(out, progress)), end="")


def _cut(x: Any, model: IntegerModel) -> Any:
    """The real input at the network's size: its beginning. Raises ValueError where it is smaller."""
    size = model.input_shape[:-1]
    if any(have < want for have, want in zip(x.shape[1:-1], size, strict=True)):
        raise ValueError(f"the input is {x.shape[1:-1]}, smaller than the network's {size}; give a longer one")
    return x[(slice(None), *(slice(extent) for extent in size))]


def verify(arguments: Namespace, progress: Any) -> int:
    """Compare with a bundle of integers, tell, and return the exit status."""
    from npunet.files import write_text
    from npunet.verify.integer import report, verify_integer

    refuse(arguments, FLOAT_ONLY_IN_VERIFY)
    result = verify_integer(arguments.bundle, arguments.outputs, layers=arguments.layers, case=arguments.case,
                            explain=not arguments.no_diagnosis, progress=progress)
    if arguments.json:
        write_text(arguments.json, report.as_json(result))
    print(report.text(result, arguments.all), end="")
    return result.status
