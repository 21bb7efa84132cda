"""A verification as one HTML page that needs nothing else: verdict, picture, table, histogram."""

from __future__ import annotations

from html import escape

from npunet.verify import picture, report
from npunet.verify.compare import BUCKETS
from npunet.verify.results import FAIL, INHERITED, PASS, LayerVerdict, Result

STYLE = """body { font: 14px sans-serif; margin: 2em auto; max-width: 1120px; color: #1a1a1a }
table { border-collapse: collapse } td, th { padding: 2px 9px; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child, td:nth-child(2) { text-align: left; font-family: monospace }
pre { background: #f4f4f4; padding: 1em; overflow-x: auto } .PASS { color: #00705a } .FAIL, .ERROR { color: #b04000 }
.INHERITED { color: #9a6b00 } .SKIPPED { color: #777 }"""
COLUMNS = (
    "layer",
    "operator",
    "case",
    "n",
    "differ",
    "max abs",
    "max rel",
    "max ULP",
    "SNR dB",
    "err/bound",
    "verdict",
)


def page(result: Result) -> str:
    """The page."""
    counts = report.histogram(result)
    most = max(counts, default=0) or 1
    bars = "".join(
        f"<tr><td>{escape(name)}</td><td></td><td>{count}</td><td style='text-align:left'>"
        f"<svg width='300' height='10'><rect width='{300 * count / most:.0f}' height='10' fill='#0072B2'/></svg>"
        "</td></tr>"
        for name, count in zip(BUCKETS, counts, strict=True)
    )
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "\n".join(_row(layer) for layer in result.layers)
    verdict = result.verdict
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>npunet verify: {escape(verdict)}</title><style>{STYLE}</style></head>
<body><h1 class="{verdict}">{verdict}</h1>
<pre>{escape(report.text(result))}</pre>
{picture.svg(result)}
<h2>Layers</h2><table><tr>{head}</tr>
{rows}</table>
<h2>Distance in units in the last place</h2><table>{bars}</table>
</body></html>
"""


def _row(layer: LayerVerdict) -> str:
    check = layer.worst
    if check is None:
        cells = ["", "", "", "", "", "", "", ""]
    else:
        found = check.chained
        cells = [
            check.case,
            str(found.size),
            str(found.differ),
            f"{found.max_abs:.3g}",
            f"{found.max_rel:.3g}",
            str(found.max_ulp),
            f"{found.snr:.1f}",
            "" if found.share is None else f"{found.share:.3f}",
        ]
    shown = "".join(f"<td>{escape(cell)}</td>" for cell in (layer.record["id"], layer.record["operator"], *cells))
    style = layer.status if layer.status in (PASS, FAIL, INHERITED) else "SKIPPED"
    return f'<tr>{shown}<td class="{style}">{layer.status}</td></tr>'
