"""An audit as text, as data for JSON, and as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from npunet.audit import claims, draw
from npunet.audit.audit import Audit
from npunet.audit.drawing import drawing
from npunet.audit.memory import arena_map
from npunet.audit.ranges import Range
from npunet.audit.runtime import Parity

STYLE = """:root { color-scheme: light dark; --ink: #1d1d1b; --paper: #fbfbf9; --rule: #dcdcd6; --muted: #5c5c58;
--bar: #0072b2; --bad: #b03a00; --good: #00705a }
@media (prefers-color-scheme: dark) { :root { --ink: #ececea; --paper: #16181a; --rule: #3a3e42; --muted: #a8aaa8;
--bar: #6cbdf0; --bad: #ff9d57; --good: #5fd0a8 } }
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 1180px; margin: 1.5em auto; padding: 0 16px;
color: var(--ink); background: var(--paper) }
h1, h2 { line-height: 1.2 } .wide { overflow-x: auto } svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th { color: var(--muted); text-align: left }
td, th { padding: 2px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap } td.n { text-align: right }
td.text { white-space: normal; min-width: 14em } .bad { color: var(--bad) } .good { color: var(--good) }
.network text { fill: currentColor } code { overflow-wrap: anywhere }"""
MIB = 2.0**20


def as_dict(found: Audit) -> dict[str, Any]:
    """Every figure of an audit, ready for JSON; weights and samples are left out."""
    parts = {name: value for name, value in vars(found).items() if name != "shown"}
    return {**{name: plain(value) for name, value in parts.items()}, "passed": found.passed}


def plain(value: Any) -> Any:
    """Records as dictionaries, tuples as lists: what JSON can hold."""
    if hasattr(value, "_asdict") or hasattr(value, "__dataclass_fields__"):
        names = value._fields if hasattr(value, "_asdict") else value.__dataclass_fields__
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def text(found: Audit) -> str:
    """The audit in a terminal: the totals, what failed, what is odd."""
    counted, planned = found.costs, found.memory
    skips = planned.arena.size - planned.no_skips
    worst = max(found.gradients.weights, key=lambda each: each.error)
    control, right = found.gradients.control, sum(each.passed for each in found.gradients.weights)
    held = "passed, which it must not" if control.passed else f"fails as it must ({control.error:.1e})"
    dead = [f"{each.layer} {len(each.dead)}" for each in found.ranges if each.dead]
    rows = [
        ("parameters", f"{counted.parameters:,} ({counted.trainable:,} trainable), "
                       f"{counted.weight_bytes:,} bytes as float32"),
        ("work", f"{counted.macs:,} MACs a sample = {counted.flops:,} FLOPs (one MAC is two FLOPs)"),
        ("memory", f"arena {planned.arena.size:,} elements, at one step at most {planned.peak:,}; in place "
                   f"{planned.in_place:,}, fused {planned.fused:,}; the skips cost {skips:,}"),
        ("sizes", f"multiples of {found.sizes.multiples[0]} x {found.sizes.multiples[1]}"
                  f"{', fixed by layer norm' if found.sizes.fixed else ''}{_delay(found)}"),
        *(("field", f"{each.where} output {each.output} along {each.axis}: by the graph {_interval(each.theoretical)}, "
                    f"by the gradient {_interval(each.measured)}, 95 % of it {_interval(each.effective)}")
          for each in found.fields),
        ("gradients", f"{right} of {len(found.gradients.weights)} right, largest relative error {worst.error:.1e} "
                      f"({worst.name}); adjoint {found.gradients.adjoint_error:.1e}"),
        ("control", f"a gradient made wrong by 0.1 %: {held}"),
        ("dead channels", few(dead, "none")),
        *((each.runtime, compared_text(each)) for each in found.parity),
        *(("odd", f"{each.what}: {each.reference}") for each in found.oddities),
    ]
    prints = found.provenance
    rows.append(("weights", f"{prints.weights[:16]}, network {prints.network[:16]}, npunet {prints.npunet}"))
    lines = [f"{found.title}, on {found.told}", *aligned(rows)]
    if found.claims:
        lines += ["claims", *(f"  {line}" for line in claims.table(found.claims).splitlines())]
    return "\n".join(lines)


def aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and what is said of each, in two columns."""
    width = max(len(name) for name, _ in rows) + 2
    return [f"{name:<{width}}{told}" for name, told in rows]


def few(told: Sequence[str], none: str) -> str:
    """The first of several things, in a row."""
    return ", ".join(told[:6]) + (" ..." if len(told) > 6 else "") if told else none


def compared_text(each: Parity) -> str:
    """One runtime in words."""
    if each.difference is None:
        return each.told
    verdict = "equal" if each.passed else "DIFFERS"
    return (f"{verdict}: {each.difference:.1e} of the largest output, limit {each.limit:.0e} "
            f"({each.version}, {each.told})")


def _delay(found: Audit) -> str:
    if found.sizes.delay is None:
        return ""
    ms = "" if found.sizes.delay_ms is None else f" = {found.sizes.delay_ms:.0f} ms"
    return f"; a stream is {found.sizes.delay} samples{ms} late"


def _interval(interval: tuple[int, int] | None) -> str:
    return "none" if interval is None else f"{interval[0]}..{interval[1]} ({interval[1] - interval[0] + 1})"


def html(found: Audit) -> str:
    """The audit as a page."""
    counted, planned = found.costs, found.memory
    parts = [
        f"<h1>{escape(found.title)}: audit</h1>",
        f'<p class="{"good" if found.passed else "bad"}">'
        f"{'Every check passed.' if found.passed else 'A check failed.'} On {escape(found.told)}.</p>",
        f'<div class="wide">{draw.svg(drawing(found.shown.graph, found.title))}</div>',
        "<h2>Layers and cost</h2>",
        f"<p>{counted.parameters:,} parameters ({counted.trainable:,} trainable), {counted.macs:,} "
        f"multiply-accumulates (MACs) a sample, which are {counted.flops:,} floating-point operations (FLOPs): one MAC "
        "is two.</p>",
        table(("layer", "operator", "output", "parameters", "MACs", "bytes", "receptive field"),
               ((layer.name, layer.op, "x".join(map(str, layer.shape)), layer.parameters, layer.macs, layer.bytes,
                 layer.sees) for layer in counted.layers)),
        "<h2>Memory</h2>",
        table(("plan for one sample", "elements", "MiB as float32"), (
            (name, size, f"{size * 4 / MIB:.3f}") for name, size in (
                ("every layer in a tensor of its own", planned.arena.size),
                ("the most alive at one step", planned.peak),
                ("norms, activations, additions in place", planned.in_place),
                ("in place, and norms and activations fused into convolutions", planned.fused),
                ("if no skip were kept", planned.no_skips),
                ("so the skips cost", planned.arena.size - planned.no_skips)))),
        f'<div class="wide">{arena_map(found.shown.graph, planned)}</div>',
        "<h2>Receptive field, sizes, delay</h2>",
        f"<p>Sizes are multiples of {found.sizes.multiples[0]} x {found.sizes.multiples[1]}"
        f"{', fixed by layer norm' if found.sizes.fixed else ''}{escape(_delay(found))}.</p>",
        table(("output", "axis", "position", "by the graph", "gradient not 0", "95 % of the gradient"),
               ((each.where, each.axis, each.output, _interval(each.theoretical), _interval(each.measured),
                 _interval(each.effective)) for each in found.fields)),
        "<h2>Ranges on data, as deployed, and int8</h2>",
        "<p>The int8 step is (high - low) / 255 over the range widened to hold 0; clipped: outside the range of the "
        "first half.</p>",
        table(("layer", "low", "high", "mean", "at 0", "at 6", "dead", "histogram", "int8 step", "clipped", "SNR dB"),
               (_range_row(each) for each in found.ranges), raw=(7,)),
        "<h2>Gradients</h2>", _gradients(found),
        "<h2>Where the reference is odd</h2>",
        table(("what", "reference", "paper or documentation", "cost", "pinned by", "layers"),
               ((each.what, each.reference, each.paper, each.cost, each.test, _few(each.layers))
                for each in found.oddities), wrap=True),
        "<h2>Other runtimes</h2>",
        runtimes(found.parity),
    ]
    if found.claims:
        parts += ["<h2>Claims: documented against counted</h2>",
                  table(("claim", "source", "configuration", "figure", "documented", "counted", "ratio", "verdict"),
                         ((each.name, each.source, each.configuration, each.figure, each.documented, each.counted,
                           f"{each.ratio:.2f}", each.verdict) for each in found.claims), wrap=True)]
    parts += ["<h2>Provenance</h2>", table(("", ""), asdict(found.provenance).items())]
    return document(found.title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """The parts of an audit as one HTML page."""
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><title>{escape(title)}: audit</title>'
            f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n")


def runtimes(found: Sequence[Parity]) -> str:
    """What other runtimes gave, as a table."""
    return table(("runtime", "version", "what", "difference", "limit", "verdict"),
                 ((each.runtime, each.version, each.told, "" if each.difference is None else f"{each.difference:.2e}",
                   "" if each.limit is None else f"{each.limit:.0e}",
                   {True: "equal", False: "differs", None: "not compared"}[each.passed]) for each in found), wrap=True)


def _few(layers: Sequence[str]) -> str:
    """Some layers by name, many by their number."""
    if not layers:
        return "the whole network"
    return ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")


def _range_row(each: Range) -> tuple[Any, ...]:
    most = max(each.histogram) or 1
    bars = "".join(f'<rect x="{4 * k}" y="{18 - 18 * count / most:.1f}" width="3.4" height="{18 * count / most:.1f}" '
                   'fill="var(--bar)"/>' for k, count in enumerate(each.histogram))
    picture = f'<svg width="{4 * len(each.histogram)}" height="18">{bars}</svg>'
    return (each.layer, f"{each.low:.4g}", f"{each.high:.4g}", f"{each.mean:.3g}", f"{100 * each.zeros:.1f} %",
            f"{100 * each.sixes:.1f} %", len(each.dead), picture, f"{each.step:.3g}", f"{100 * each.clipped:.2f} %",
            "" if each.noise_db is None else f"{each.noise_db:.1f}")


def _gradients(found: Audit) -> str:
    check = found.gradients
    control = check.control
    rows = [(each.name, f"{each.backpropagated:.15g}", f"{each.complex_step:.15g}", f"{each.error:.1e}",
             "right" if each.passed else "WRONG") for each in check.weights]
    rows.append((f"control: {control.name}, made wrong by 0.1 %", f"{control.backpropagated:.15g}",
                 f"{control.complex_step:.15g}", f"{control.error:.1e}",
                 "passed, which it must not" if control.passed else "fails, as it must"))
    lengths = ((name, f"{norm:.4g}") for name, norm in check.norms.items())
    norms = table(("layer", "length of d loss / d output"), lengths)
    return (f"<p>Adjoint identity through the whole network: relative error {check.adjoint_error:.1e}.</p>"
            + table(("weight", "backpropagated", "complex step", "relative error", ""), rows)
            + f"<details><summary>Along the depth</summary>{norms}</details>")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, raw: tuple[int, ...] = (),
           wrap: bool = False) -> str:
    """A table; whole numbers stand at the right, with separators. Columns in `raw` are markup that was made here."""
    lines = []
    for row in rows:
        cells = []
        for number, cell in enumerate(row):
            if number in raw:
                cells.append(f"<td>{cell}</td>")
            elif isinstance(cell, int) and not isinstance(cell, bool):
                cells.append(f'<td class="n">{cell:,}</td>')
            else:
                cells.append(f'<td{" class=text" if wrap else ""}>{escape(str(cell))}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
