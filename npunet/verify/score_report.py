"""The mutation score of a bundle in words."""

from __future__ import annotations

from typing import Any

SHOWN = 8


def text(told: dict[str, Any]) -> str:
    """The mutation score as a table: one line a mutant."""
    lines = [f"{'mutant':<26} {'killed':>7} {'equivalent':>10} {'hidden':>6} {'survived':>8}  caught by"]
    for entry in told["table"]:
        cases = entry["cases"]
        caught = ", ".join(cases[:2]) + (f" and {len(cases) - 2} more" if len(cases) > 2 else "")
        lines.append(
            f"{entry['mutant']:<26} {entry['killed']:>7} {sum(entry['equivalent'].values()):>10} "
            f"{len(entry['hidden']):>6} {len(entry['survived']):>8}  {caught}"
        )
        lines += [f"  CANNOT SEE {left['layer']}: {left['variant']} ({left['because']})"
                  for left in entry["hidden"][:SHOWN]]
        lines += [f"  SURVIVED {left['layer']}: {left['variant']}" for left in entry["survived"][:SHOWN]]
    return "\n".join(
        [
            *lines,
            f"{told['mutants']} mutants in {told['instances']} instances: {told['killed']} killed, "
            f"{told['equivalent']} proven equivalent {told.get('whatever', 'whatever the weights')}, "
            f"{told['hidden']} hidden by this network's weights, {told['survived']} survived",
            f"MUTATION SCORE {_percent(told['score'])} %"
            + (f" of what these weights can show; {told['hidden']} instances cannot be seen" if told["hidden"] else ""),
            "",
        ]
    )


def _percent(share: float) -> str:
    """With so many digits that only what is 1 reads 100."""
    return next(text for digits in range(1, 16) if (text := f"{100 * share:.{digits}f}") and (
        share == 1 or float(text) < 100))
