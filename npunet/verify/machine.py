"""A result for machines: JSON, and JUnit's XML."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import inf, isfinite
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from npunet.verify.compare import BUCKETS, Comparison
from npunet.verify.report import amount, histogram
from npunet.verify.results import FAIL, NOT_JUDGED, PASS, SKIPPED, Check, Result


def as_json(result: Result) -> str:
    """Everything, for a machine; keys sorted, infinities as null."""
    first = result.first
    return (
        json.dumps(
            {
                "verdict": result.verdict,
                "status": result.status,
                "bundle": result.bundle,
                "seconds": round(result.seconds, 3),
                "bounded": result.bounded,
                "float_order": result.arithmetic,
                "first_divergence": first.record["id"] if first and first.status == FAIL else None,
                "diagnosis": None
                if result.diagnosis is None
                else {
                    "layer": result.diagnosis.layer,
                    "tried": result.diagnosis.tried,
                    "cut": result.diagnosis.cut,
                    "seconds": round(result.diagnosis.seconds, 3),
                    "unchanged": result.diagnosis.unchanged,
                    "total": result.diagnosis.total,
                    "causes": [
                        {
                            "names": list(c.names),
                            "words": c.words,
                            "explained": c.explained,
                            "total": c.total,
                            "exact": c.exact,
                        }
                        for c in result.diagnosis.causes
                    ],
                },
                "layers": [
                    {
                        "id": layer.record["id"],
                        "operator": layer.record["operator"],
                        "status": layer.status,
                        "trusted": layer.trusted,
                        "checks": [_check(check) for check in layer.checks],
                    }
                    for layer in result.layers
                ],
                "backward": [_check(check) for check in result.others],
                "faults": [str(fault) for fault in result.faults],
                "ignored": list(result.ignored),
                "cases": result.cases,
                "cases_not_given": list(result.unchecked_cases),
                "cases_given_in_part": list(result.partial_cases),
                "cannot_see": list(result.cannot_see),
                "inputs": [_check(check) for check in result.inputs],
                "non_finite": {"failed": dict(result.apart), "declared": result.finite_math},
                "statistical": [asdict(found) for found in result.statistics],
                "notes": list(result.notes),
                "ulp_histogram": dict(zip(BUCKETS, histogram(result), strict=True)),
            },
            indent=1,
            sort_keys=True,
            allow_nan=False,
        )
        + "\n"
    )


def _check(check: Check) -> dict[str, Any]:
    return {
        "case": check.case,
        "scope": check.scope,
        "key": f"{check.layer}.{check.role}",
        "status": check.status,
        "layout": check.layout,
        "note": check.note,
        "unseen": list(check.unseen),
        "chained": _numbers(check.chained),
        "own": None if check.own is None else _numbers(check.own),
    }


def _numbers(found: Comparison) -> dict[str, Any]:
    plain = {key: value for key, value in found.__dict__.items() if key not in ("histogram", "first")}
    kept = {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in plain.items()}
    kept["snr_infinite"] = found.snr == inf
    return kept | {"first": None if found.first is None else list(found.first)}


def as_junit(result: Result) -> str:
    """JUnit's XML: one test case for every tensor, skipped ones for layers that were not given."""
    cases, counts = [], {"failures": 0, "errors": 0, "skipped": 0}

    def add(group: str, name: str, inside: str, kind: str | None) -> None:
        if kind:
            counts[kind] += 1
        cases.append(f"  <testcase classname={quoteattr(group)} name={quoteattr(name)}>{inside}</testcase>")

    for layer in result.layers:
        for check in layer.checks:
            if check.apart and not result.finite_math and check.status in (PASS, NOT_JUDGED):
                said = f"{check.apart} elements that must be NaN or infinite are of another kind"
                add(check.case, f"{check.layer}.{check.role}", f"<failure message={quoteattr(said)}/>", "failures")
            elif check.status in (PASS, NOT_JUDGED):
                add(check.case, f"{check.layer}.{check.role}", "", None)
            else:
                found = check.chained
                said = f"{check.status}: {found.differ} of {found.size} differ, max {amount(found)}"
                add(check.case, f"{check.layer}.{check.role}", f"<failure message={quoteattr(said)}/>", "failures")
        if layer.status == SKIPPED:
            add("layers", layer.record["id"], '<skipped message="not given"/>', "skipped")
        elif layer.status == NOT_JUDGED:
            message = "not judged: the bound is wider than the signal"
            add("layers", layer.record["id"], f"<skipped message={quoteattr(message)}/>", "skipped")
    for check in (*result.inputs, *result.others):
        wrong = (
            ""
            if check.status == PASS
            else f"<failure message={quoteattr(f'{check.chained.wrong} wrong')}/>"
        )
        add(check.case, f"{check.layer}.{check.role}", wrong, None if check.status == PASS else "failures")
    for fault in result.faults:
        add("outputs", fault.where, f"<error message={quoteattr(fault.what)}/>", "errors")
    head = " ".join(f'{key}="{value}"' for key, value in {"tests": len(cases), **counts}.items())
    name = escape(f"npunet verify {result.bundle['model']}", {'"': "&quot;"})
    body = "".join(character for character in "\n".join(cases) if character >= " " or character in "\n\t")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="{name}" {head}>\n{body}\n</testsuite>\n'
