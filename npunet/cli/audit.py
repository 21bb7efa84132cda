"""npunet audit: every figure of a model counted, checked and shown; documented figures against counted ones."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npunet import IntegerModel
from npunet.cli import inputs, models, outputs, sources, values
from npunet.files import write_text

if TYPE_CHECKING:
    from npunet.audit.integer_audit import IntegerAudit


def add(verbs: Any) -> None:
    """Arguments of `npunet audit`."""
    parser = models.verb(verbs, "audit", audit, "count, check and show everything of a model; documented figures too",
                         "npunet audit ecg -o report.html")
    parser.epilog = f"""{parser.epilog}
          npunet audit --claims heartkit           documented figures against counted ones
          npunet audit ecg --claims claims.json    with the model's audit (the file's form: npunet/audit/claims.py)

Exit status: 0, 1 where a check failed (a documented figure that differs is a finding, not a failed check), 2 error."""
    parser.add_argument("model", nargs="?", help=models.HELP)
    parser.add_argument("--data", metavar="FILE", help=f"what ranges are taken on ({inputs.HELP}); default: a sample "
                        "made by formulas")
    parser.add_argument("--claims", metavar="FILE", help="JSON of documented figures, or the name of one that comes "
                        "with npunet: heartkit, sleepkit")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the whole audit, as .html or .json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--seed", type=values.seed, default=0,
                        help="of the weights of a network that has none (default 0)")
    inputs.add_arguments(parser)


def audit(arguments: Namespace) -> None:
    """Read, audit, write, tell."""
    from npunet.audit import claims, report

    suffix = Path(arguments.out).suffix.lower() if arguments.out else ""
    if arguments.out and suffix not in (".html", ".json"):
        raise ValueError(f"{arguments.out}: an audit is written as .html or .json")
    outputs.refuse_all(arguments)
    if arguments.model is None and not arguments.claims:
        raise ValueError("name a model, or --claims to check documented figures (see npunet audit --help)")
    checked = claims.check(claims.load(arguments.claims)) if arguments.claims else []
    if arguments.model is None:
        data, told, page = {"claims": [vars(claim) for claim in checked]}, claims.table(checked), None
        passed = True
    elif (integers := models.open_integer(arguments.model)) is not None:
        from npunet.audit import integer_audit

        if checked:
            raise ValueError(f"{arguments.model} is an integer network; claims are counted on float ones")
        whole = audited_integers(integers, arguments)
        data, told = integer_audit.as_dict(whole), integer_audit.text(whole)
        page, passed = integer_audit.html(whole), whole.passed
    else:
        found = audited(arguments, checked)
        data, told, page, passed = report.as_dict(found), report.text(found), report.html(found), found.passed
    if suffix == ".html" and page is None:
        raise ValueError(f"{arguments.out}: claims alone are written as .json; name a model for a report as .html")
    if arguments.out:
        write_text(arguments.out, page if suffix == ".html" and page else as_json(data))
    print(as_json(data) if arguments.json else told)
    if arguments.out and not arguments.json:
        print(f"wrote   {arguments.out}")
    if not passed:
        raise SystemExit(1)


def audited(arguments: Namespace, checked: list[Any]) -> Any:
    """The audit of the named model on the named data."""
    from npunet.audit.audit import audit as take
    from npunet.cli.predict import meaning_of
    from npunet.cli.trace import padded

    opened = models.open_model(arguments.model, arguments.seed)
    model, face = models.network_of(opened), models.with_float_face(opened)
    meaning = meaning_of(face)
    if arguments.data is None:
        inputs.refuse_options(arguments, "there is no --data")
        return take(model, rate=meaning.rate, claims=checked)
    batch = sources.batch(arguments.data, face, meaning, arguments)
    return take(model, padded(model, batch.x), rate=meaning.rate, told=batch.told, claims=checked)


def audited_integers(model: IntegerModel, arguments: Namespace) -> IntegerAudit:
    """The audit of an integer network on the named data."""
    from npunet.audit.integer_audit import integer_audit
    from npunet.cli.predict import meaning_of

    if arguments.data is None:
        return integer_audit(model)
    face = models.with_float_face(model)
    batch = sources.batch(arguments.data, face, meaning_of(face), arguments)
    return integer_audit(model, model.quantize_input(batch.x), batch.told)


def as_json(data: Any) -> str:
    """JSON without values that JSON does not have."""
    return json.dumps(data, indent=1, allow_nan=False, default=str) + "\n"
