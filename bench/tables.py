"""From measured durations to what people read: medians and ratios, Markdown, a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BASE = "npunet"  # every ratio is to this one
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00")

Row = dict[str, Any]


def condensed(rounds: list[list[float]], base: list[list[float]] | None, batch: int) -> Row:
    """Durations of one peer, a list a round: milliseconds a sample, and how many times as long as the base takes.

    The ratio is the median over rounds of the ratio of that round's medians, so that a drift of the machine cancels.
    """
    calls = sorted(1e3 * seconds / batch for taken in rounds for seconds in taken)
    medians = [statistics.median(taken) for taken in rounds]
    row: Row = {"ms": statistics.median(calls), "ms_best": calls[0], "ms_p90": calls[int(0.9 * (len(calls) - 1))],
                "calls": len(calls), "round_ms": [1e3 * median / batch for median in medians]}
    if base is not None:
        ratios = [median / statistics.median(of) for median, of in zip(medians, base, strict=True)]
        row["ratio"] = statistics.median(ratios)
    return row


def markdown(result: dict[str, Any]) -> str:
    """Everything that was measured, as tables."""
    machine, peak = result["machine"], result["peak"]
    lines = [f"Measured on {machine['processor']} ({', '.join(machine['features'])}), {machine['system']}, Python "
             f"{machine['python']}; npunet {result['npunet']}. FMA peak "
             + ", ".join(f"{value['fma_gflops']:.0f} GFLOP/s on {count} thread{'s' * (int(count) > 1)}"
                         for count, value in peak.items()) + ".",
             "Medians in ms a sample; in brackets how many times npunet's own. Of integers, \"off by\" is the largest "
             "difference to TFLite-Micro's outputs, in steps of the last bit.", ""]
    for name, subject in result["subjects"].items():
        lines += [f"**{name}**, {' x '.join(map(str, subject['input_shape']))}, {subject['parameters']:,} parameters, "
                  f"{2 * subject['macs'] / 1e6:,.1f} MFLOP a sample; FMA limit "
                  f"{limit_ms(subject, peak, '1'):.3g} ms on one thread", "", *peers_table(result, name), ""]
    lines += ["**npunet against the machine**", "", *machine_table(result), ""]
    if result["cold"]:
        lines += ["**Fresh process to the first output**, one thread", "", *cold_table(result), ""]
    lines += [f"Not measured: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(lines).rstrip() + "\n"


def limit_ms(subject: Row, peak: dict[str, Any], threads: str) -> float:
    """How long a sample takes at least at the measured peak."""
    return 2 * subject["macs"] / peak[threads]["fma_gflops"] / 1e6


def peers_table(result: dict[str, Any], subject: str) -> list[str]:
    rows = [row for row in result["rows"] if row["subject"] == subject]
    settings = sorted({(row["batch"], row["threads"]) for row in rows})
    heads = [f"batch {batch}, {threads} thread{'s' * (threads > 1)}" for batch, threads in settings]
    lines = []
    for peer in dict.fromkeys(row["peer"] for row in rows):
        found = {(row["batch"], row["threads"]): row for row in rows if row["peer"] == peer}
        cells = [cell(found.get(setting)) for setting in settings]
        lines.append([f"{peer} {result['versions'][peer]}", *cells])
    return table(["runtime", *heads], lines)


def cell(row: Row | None) -> str:
    if row is None:
        return ""
    off = f", off by {row['steps_off']}" if row.get("steps_off") is not None else ""
    return f"{row['ms']:.3g}" + (f" ({row['ratio']:.2f})" if "ratio" in row else "") + off


def machine_table(result: dict[str, Any]) -> list[str]:
    lines = [[row["subject"], str(row["batch"]), str(row["threads"]), f"{row['ms']:.3g}", f"{row['gflops']:.1f}",
              f"{100 * row['peak_share']:.0f} %", gain(row, result["rows"])]
             for row in result["rows"] if row["peer"] == BASE]
    return table(["model", "batch", "threads", "ms a sample", "GFLOP/s", "of the FMA peak", "times one thread"], lines)


def gain(row: Row, rows: Iterable[Row]) -> str:
    """How many times as fast as on one thread."""
    same = ("subject", "batch", "peer")
    alone = [other for other in rows if other["threads"] == 1 and all(other[key] == row[key] for key in same)]
    return f"{alone[0]['ms'] / row['ms']:.2f}" if alone and row["threads"] > 1 else ""


def cold_table(result: dict[str, Any]) -> list[str]:
    lines = [[subject, peer, f"{run['seconds']:.2f}", f"{run['peak_bytes'] / 1e6:.0f}",
              f"{result['installed_bytes'][peer] / 1e6:.0f}"]
             for subject, runs in result["cold"].items() for peer, run in runs.items()]
    return table(["model", "runtime", "s", "peak memory, MB", "installed with what it needs, MB"], lines)


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines)]


def picture(result: dict[str, Any], path: Path) -> None:
    """Bars for every subject at batch 1: ms a sample on each number of threads, and the FMA limit as a line."""
    from matplotlib.figure import Figure

    subjects = list(result["subjects"])
    figure = Figure(figsize=(4.6 * len(subjects), 4.2), layout="constrained")
    batch = min(row["batch"] for row in result["rows"])
    for axes, name in zip(figure.subplots(1, len(subjects), squeeze=False)[0], subjects, strict=True):
        rows = [row for row in result["rows"] if row["subject"] == name and row["batch"] == batch]
        peers = list(dict.fromkeys(row["peer"] for row in rows))[::-1]
        counts = sorted({row["threads"] for row in rows})
        for turn, threads in enumerate(counts):
            shown = {row["peer"]: row["ms"] for row in rows if row["threads"] == threads}
            places = [peers.index(peer) - 0.8 * (turn + 0.5) / len(counts) + 0.4 for peer in shown]
            label, color = f"{threads} thread{'s' * (threads > 1)}", COLOURS[turn % len(COLOURS)]
            bars = axes.barh(places, list(shown.values()), 0.8 / len(counts), label=label, color=color)
            for text in axes.bar_label(bars, [f"{value:.3g}" for value in shown.values()], padding=3, fontsize=7):
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # over the line of the limit
        axes.axvline(limit_ms(result["subjects"][name], result["peak"], "1"), color="#D55E00", linewidth=1,
                     label="FMA limit, 1 thread")
        axes.set(xlim=(0, 1.18 * max(row["ms"] for row in rows)), xlabel=f"ms a sample, batch {batch}", title=name)
        axes.set_yticks(range(len(peers)), peers, fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=110)
