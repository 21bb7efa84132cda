"""Databases, day-long recordings and large images on Dask's workers, against one process, from one command each.

    python bench/distributed.py --quick              # small ones, two workers, within a minute; what CI runs
    python bench/distributed.py                      # LUDB, 30 hours, 10,000 records, 20,000 x 20,000; 3 GB of disk
    python bench/distributed.py --only ludb --runs 3

LUDB is taken from --data or NPUNET_DATA and left out without it; everything else is made here. Every run is the command
`npunet predict` in a process of its own. What it writes is compared with what one process writes, byte by byte; for the
image some windows are run again by themselves. A difference, or a damaged record that is not named, is exit status 1.

wall s is from the start of the command to its end, with the start of the workers. CPU s is the processor time of all
its processes, which other users of the machine change least. memory is that of its largest process.

Writes distributed.json and distributed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import machine
import numpy as np

import npunet
from npunet.data.synthetic import synthetic_ecg

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
KINDS = ("ludb", "long", "many", "image")
FS = 250
DAMAGES = ("cut", "gone", "words", "checksum", "empty", "binary", "lead")  # of records, one each
IMAGE = {"blocks": [{"filters": 4, "kernel": 3, "pool": 2, "strides": 2}] * 2, "output_kernel_size": 3}


@dataclass
class Row:
    """One run. `same` is None where there is nothing to compare it with."""

    work: str
    how: str
    wall: float
    cpu: float
    megabytes: float
    hours: float
    same: bool | None
    told: str = ""


def timed(command: list[str], status: int = 0) -> tuple[float, float, float, str]:
    """Wall and processor seconds, megabytes of the largest process, and the output of an `npunet` command."""
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, "-m", "npunet", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=environment) as process:
        told = process.stdout.read()
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode != status:
        raise SystemExit(f"npunet {' '.join(command)} ended with {process.returncode}, not {status}:\n{told[-3000:]}")
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, told


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "summary.csv"}


def ways(counts: list[int], memory: str) -> list[tuple[str, list[str]]]:
    """One process, then so many workers."""
    each = [["--dask", "--workers", str(count), "--worker-memory", memory] for count in counts]
    names = [f"{count} worker{'s' if count > 1 else ''}" for count in counts]
    return [("one process", ["--threads", "1"]), *zip(names, each, strict=True)]


def compared(work: str, command: list[str], out: Path, hours: float, counts: list[int], memory: str,
             status: int = 0) -> list[Row]:
    """A command that writes a folder or a file: by one process and by workers."""
    rows, expected = [], None
    for how, more in ways(counts, memory):
        shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        wall, cpu, megabytes, told = timed([*command, *more, "-o", str(out)], status)
        written = files(out) if out.is_dir() else out.read_bytes()
        rows.append(Row(work, how, wall, cpu, megabytes, hours, None if expected is None else written == expected,
                        _last(told)))
        expected = written if expected is None else expected
        print(f"{work}, {how}: {wall:.1f} s, {cpu:.1f} CPU s", flush=True)
    return rows


def _last(told: str) -> str:
    kept = [line for line in told.splitlines() if line.startswith(("done", "blocks", "pieces", "npunet: error"))]
    return kept[-1][:200] if kept else ""


def record(folder: Path, name: str, signal: np.ndarray) -> None:
    """A WFDB record of one lead in format 16, 200 units a millivolt."""
    stored = np.clip(np.rint(200 * signal), -32767, 32767).astype("<i2")
    stored.tofile(folder / f"{name}.dat")
    (folder / f"{name}.hea").write_text(f"{name} 1 {FS} {len(stored)}\n{name}.dat 16 200 16 0 {stored[0]} "
                                        f"{int(stored.sum(dtype=np.int64)) & 0xFFFF} 0 II\n")


def damage(folder: Path, name: str, how: str) -> None:
    """Break a record in one of several ways."""
    header, data = folder / f"{name}.hea", folder / f"{name}.dat"
    text = header.read_text()
    if how == "cut":
        data.write_bytes(data.read_bytes()[:-101])
    elif how == "gone":
        data.unlink()
    elif how == "words":
        header.write_text("a header of no record\n")
    elif how == "checksum":
        header.write_text(text.replace(f"{text.split()[-3]} 0 II", f"{(int(text.split()[-3]) + 1) & 0xFFFF} 0 II"))
    elif how == "empty":
        header.write_bytes(b"")
    elif how == "binary":
        header.write_bytes(os.urandom(300))
    else:
        header.write_text(text.replace(" II", "").replace(" 200 16", " 200/degC 16"))


def ludb(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Every record of LUDB, 12 leads each."""
    data = Path(arguments.data or os.environ.get("NPUNET_DATA", ""))
    folder = next((each for each in (data / "ludb", data) if (each / "RECORDS").is_file()), None)
    if folder is None:
        print("no LUDB: left out")
        return []
    names = (folder / "RECORDS").read_text().split()
    if arguments.quick:
        few = work / "few"
        few.mkdir()
        for name in names[:6]:
            for path in (folder / name).parent.glob(f"{Path(name).name}.*"):
                shutil.copy(path, few)
        folder, names = few, names[:6]
    hours = len(names) * 12 * 10 / 3600
    return compared(f"{len(names)} LUDB records x 12 leads", ["predict", "ecg-trained", str(folder)], work / "ludb",
                    hours, arguments.workers, arguments.memory)


def long(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """One lead of 30 hours, a minute again and again under another noise."""
    hours = 1 / 3 if arguments.quick else 30
    beat, _ = synthetic_ecg(60, FS, seed=1)
    rng = np.random.default_rng(2)
    length = round(hours * 3600 * FS)
    signal = np.resize(beat, length) + rng.normal(0, 0.02, length).astype(np.float32)
    record(work, "long", signal)
    return compared(f"one lead of {hours:.3g} h at {FS} Hz", ["predict", "ecg-trained", str(work / "long")],
                    work / "long.csv", hours, arguments.workers, arguments.memory)


def many(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Records of ten seconds, of which seven are damaged, each in another way."""
    count = 60 if arguments.quick else arguments.records
    folder = work / "many"
    folder.mkdir()
    rng = np.random.default_rng(3)
    beat, _ = synthetic_ecg(60, FS, seed=4)
    names = [f"r{number:05d}" for number in range(count)]
    for name in names:
        start = rng.integers(0, len(beat) - 10 * FS)
        record(folder, name, beat[start : start + 10 * FS])
    broken = dict(zip(rng.choice(names, len(DAMAGES), replace=False).tolist(), DAMAGES, strict=True))
    for name, how in broken.items():
        damage(folder, name, how)
    rows = []
    for how, more in ways(arguments.workers[-1:], arguments.memory)[0 if arguments.quick else 1 :]:
        out = work / f"many_{len(rows)}"
        wall, cpu, megabytes, told = timed(["predict", "ecg-trained", str(folder), *more, "-o", str(out)], 2)
        results = len([path for path in out.iterdir() if path.name.endswith("_labels.csv")])
        unnamed = [name for name in broken if f"broken  {folder / name}" not in told]
        fine = results == count - len(broken) and not unnamed
        rows.append(Row(f"{count:,} records of 10 s, {len(broken)} damaged", how, wall, cpu, megabytes, count / 360,
                        fine, f"{results:,} results, {len(broken) - len(unnamed)} named"))
        print(f"{rows[-1].work}, {how}: {wall:.1f} s, {cpu:.1f} CPU s, {rows[-1].told}", flush=True)
    wall, cpu, megabytes, told = timed(["predict", "ecg-trained", str(folder), *more, "-o", str(out)], 2)
    skipped = f"skipped {count - len(broken)} inputs" in told
    rows.append(Row(rows[-1].work, f"{how}, again", wall, cpu, megabytes, count / 360, skipped, "all skipped"))
    return rows


def image(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """A large image, written block by block, run by workers of a bounded memory."""
    zarr = __import__("zarr")
    side, chunk = (1200, 256) if arguments.quick else (arguments.side, 1024)
    model = npunet.UNet(IMAGE, (None, None, 1), 3, seed=5)
    model.save(work / "image.npz")
    stored = zarr.create_array(work / "image.zarr", shape=(side, side), chunks=(chunk, chunk), dtype="u1")
    rng = np.random.default_rng(6)
    for row in range(0, side, chunk):
        stored[row : row + chunk] = rng.integers(0, 256, (min(chunk, side - row), side), np.uint8)
    rows = []
    for how, more in ways(arguments.workers[-1:], "2GB" if not arguments.quick else arguments.memory)[1:]:
        out = work / "labels.zarr"
        wall, cpu, megabytes, told = timed(["predict", str(work / "image.npz"), str(work / "image.zarr"), *more, "-o",
                                            str(out)])
        same = same_windows(model, stored, zarr.open(out, mode="r"), chunk)
        rows.append(Row(f"image of {side:,} x {side:,}, {side**2 / 1e6:.3g} million pixels", how, wall, cpu, megabytes,
                        0, same, _last(told)))
        print(f"{rows[-1].work}, {how}: {wall:.1f} s, {cpu:.1f} CPU s", flush=True)
    return rows


def same_windows(model: npunet.UNet, source: np.ndarray, labels: np.ndarray, chunk: int) -> bool:
    """Whether some windows over the blocks' corners have the labels that they have by themselves."""
    rng, side, margin = np.random.default_rng(7), source.shape[0], 64
    for _ in range(6):
        row, column = (int(rng.integers(1, side // chunk)) * chunk - 96 for _ in range(2))
        low, left = max(0, row - margin), max(0, column - margin)
        part = source[low : row + 192 + margin, left : column + 192 + margin].astype(np.float32)
        alone = model.predict(part[None, ..., None], arithmetic="seq_fma", pad=True)[0].argmax(-1)
        at = slice(row - low, row - low + 192), slice(column - left, column - left + 192)
        if not np.array_equal(alone[at], labels[row : row + 192, column : column + 192]):
            return False
    return True


def table(rows: list[Row]) -> str:
    lines = ["| work | how | wall s | CPU s | CPU s an hour of lead | memory MB | same |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        each = f"{row.cpu / row.hours:.2f}" if row.hours else ""
        same = {None: "", True: "yes", False: "**no**"}[row.same]
        lines.append(f"| {row.work} | {row.how} | {row.wall:.1f} | {row.cpu:.1f} | {each} | {row.megabytes:.0f} | "
                     f"{same} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small ones; two workers; within a minute")
    parser.add_argument("--only", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--data", help="folder with ludb/ (default NPUNET_DATA)")
    parser.add_argument("--workers", type=lambda text: [int(each) for each in text.split(",")], help="default 1,2")
    parser.add_argument("--memory", help="of a worker (default 1GB, 400MB with --quick)")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=20_000, help="of the image")
    parser.add_argument("-o", "--out", default=str(RESULTS))
    arguments = parser.parse_args()
    arguments.workers = arguments.workers or ([2] if arguments.quick else [1, 2])
    arguments.memory = arguments.memory or ("400MB" if arguments.quick else "1GB")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    work = out / "distributed_work"
    shutil.rmtree(work, ignore_errors=True)
    rows: list[Row] = []
    for kind in arguments.only.split(","):
        work.mkdir()
        try:
            rows += {"ludb": ludb, "long": long, "many": many, "image": image}[kind](arguments, work)
        finally:
            shutil.rmtree(work)
    told = {"machine": machine.describe(), "rows": [asdict(row) for row in rows]}
    (out / "distributed.json").write_text(json.dumps(told, indent=1, default=str))
    (out / "distributed.md").write_text(table(rows))
    print(table(rows))
    return 1 if any(row.same is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
