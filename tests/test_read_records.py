"""WFDB records: what the header says, nothing that it does not; judged by the wfdb package where that reads them."""

import warnings

import numpy as np
import pytest

from npunet.data import read_record
from npunet.data.wfdb_annotations import WAVES, annotation_labels, at_rate

BITS = {8: 6, 16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10}
ZERO = {80: 128, 160: 32768}


def packed(values, fmt):
    """The bytes of samples (n,) in a format, written from signal(5) and not from the reader."""
    values = [int(value) for value in values]
    if fmt in (16, 61, 24, 32):
        order, size = ("big" if fmt == 61 else "little"), {16: 2, 61: 2, 24: 3, 32: 4}[fmt]
        return b"".join(value.to_bytes(size, order, signed=True) for value in values)
    if fmt in (80, 160):
        return b"".join((value + ZERO[fmt]).to_bytes(1 if fmt == 80 else 2, "little") for value in values)
    if fmt == 8:
        return b"".join(value.to_bytes(1, "little", signed=True) for value in values)
    made = b""
    if fmt == 212:
        for first, second in zip(values[::2], [*values[1::2], *[0] * (len(values) % 2)], strict=True):
            first, second = first & 0xFFF, second & 0xFFF
            made += bytes([first & 0xFF, first >> 8 | second >> 8 << 4, second & 0xFF])
        return made[: (3 * len(values) + 1) // 2]
    whole = len(values) // 3 * 4 + (0, 2, 4 if fmt == 310 else 3)[len(values) % 3]
    values += [0] * (-len(values) % 3)
    for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True):
        a, b, c = a & 1023, b & 1023, c & 1023
        if fmt == 311:
            made += (a | b << 10 | c << 20).to_bytes(4, "little")
        else:
            made += (a << 1 | (c & 31) << 11).to_bytes(2, "little") + (b << 1 | c >> 5 << 11).to_bytes(2, "little")
    return made[:whole]


def write(folder, signals, fmt=16, name="r", fs="500", units=None, names=None, per_frame=1, length=None, sums=True,
          gain="200(0)"):
    """A record of signals (leads, L) of whole numbers; returns its path."""
    leads, total = signals.shape
    stored = np.diff(signals, prepend=signals[:, :1]) if fmt == 8 else signals
    frames = stored.reshape(leads, -1, per_frame).swapaxes(0, 1).reshape(-1)
    (folder / f"{name}.dat").write_bytes(packed(frames, fmt))
    lines = [f"{name} {leads} {fs} {total // per_frame if length is None else length}"]
    for number, row in enumerate(signals):
        form = f"{fmt}x{per_frame}" if per_frame > 1 else str(fmt)
        sum_ = int(row.sum()) & 0xFFFF if sums else 0
        lines.append(f"{name}.dat {form} {gain}/{(units or ['mV'] * leads)[number]} {BITS[fmt]} 0 "
                     f"{row[0]} {sum_} 0 {(names or ['I', 'II', 'V1'])[number]}")
    (folder / f"{name}.hea").write_bytes("\n".join([*lines, ""]).encode())
    return folder / name


def drawn(rng, fmt, leads=2, length=101):
    if fmt == 8:
        return np.cumsum(rng.integers(-20, 20, (leads, length)), axis=1)
    limit = 2 ** (BITS[fmt] - 1) - 1
    return rng.integers(-limit, limit, (leads, length))


@pytest.mark.parametrize("length", [7, 96, 101])
@pytest.mark.parametrize("leads", [1, 2, 3])
@pytest.mark.parametrize("fmt", sorted(BITS))
def test_every_format(tmp_path, rng, fmt, leads, length):
    signals = drawn(rng, fmt, leads, length)
    path = write(tmp_path, signals, fmt)
    record = read_record(path)
    np.testing.assert_array_equal(record.signal, (signals / 200).astype(np.float32))
    wfdb = pytest.importorskip("wfdb")
    if fmt not in (310, 311) or leads * length % 3 == 0:                     # there the package reads beyond the file
        theirs = wfdb.rdrecord(str(path), return_res=64).p_signal.T
        np.testing.assert_array_equal(record.signal, theirs.astype(np.float32))
    (tmp_path / "r.dat").write_bytes((tmp_path / "r.dat").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"r\.dat has .* cut short"):
        read_record(path)


@pytest.mark.parametrize("fmt", ["508", "516", "524"])
def test_flac(tmp_path, rng, fmt):
    wfdb = pytest.importorskip("wfdb")
    signals = rng.integers(-100, 100, (2, 999))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # wfdb uses what pandas gives up
        wfdb.wrsamp("f", 360, ["mV", "uV"], ["a", "b"], d_signal=signals.T, fmt=[fmt] * 2, adc_gain=[10.0, 5.0],
                    baseline=[0, 3], write_dir=str(tmp_path))
    record = read_record(tmp_path / "f")
    np.testing.assert_allclose(record.signal, [signals[0] / 10, (signals[1] - 3) / 5e3], rtol=1e-6)
    header = (tmp_path / "f.hea").read_text()
    (tmp_path / "f.hea").write_text(header.replace(" 999", " 1000"))
    with pytest.raises(ValueError, match="cut short"):
        read_record(tmp_path / "f")


@pytest.mark.parametrize("fmt", [16, 24, 32, 61, 80, 160, 212, 310, 311])
def test_missing_samples_are_nan(tmp_path, rng, fmt):
    signals = drawn(rng, fmt, 1, 30)
    signals[0, 4:7] = -(2 ** (BITS[fmt] - 1))
    record = read_record(write(tmp_path, signals, fmt))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(record.signal[0])), [4, 5, 6])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(("unit", "millivolts"), [("mV", 1), ("MV", 1), ("uV", 1e-3), ("µV", 1e-3), ("V", 1e3),
                                                  ("nV", 1e-6), ("microvolts", 1e-3)])
def test_units(tmp_path, rng, unit, millivolts, encoding):
    signals = drawn(rng, 16)
    path = write(tmp_path, signals, units=[unit, "mV"])
    text = (tmp_path / "r.hea").read_bytes().decode()
    (tmp_path / "r.hea").write_bytes(text.encode(encoding))
    np.testing.assert_allclose(read_record(path).signal, signals / 200 * [[millivolts], [1]], rtol=1e-6)


def test_a_greek_mu_is_a_micro_sign(tmp_path, rng):
    signals = drawn(rng, 16, 1)
    record = read_record(write(tmp_path, signals, units=["\N{GREEK SMALL LETTER MU}V"]))
    np.testing.assert_allclose(record.signal, signals / 200e3, rtol=1e-6)


@pytest.mark.parametrize("unit", ["mmHg", "NU", "adu", "mV/s", "°C", "%"])
def test_a_lead_that_is_no_voltage_is_named(tmp_path, rng, unit):
    path = write(tmp_path, drawn(rng, 16), units=["mV", unit], names=["II", "ABP"])
    with pytest.raises(ValueError, match=rf"lead 'ABP' is in {unit}, which is no voltage.*leads="):
        read_record(path)
    assert read_record(path, ["II"]).leads == ("II",)


def test_headers_that_say_little(tmp_path, rng):
    signals = drawn(rng, 16, 2, 300)
    path = write(tmp_path, signals)
    for header, wanted, fs, told in (
        ("r 2\nr.dat 16\nr.dat 16\n", signals / 200, 250, True),
        ("r 2 360 300\nr.dat 16 0\nr.dat 16 0\n", signals / 200, 360, True),
        ("r 2 500 300\nr.dat 16 100\nr.dat 16 50(7)\n", (signals - [[0], [7]]) / [[100], [50]], 500, False),
        ("r 2 500 300\nr.dat 16 100 12 9\nr.dat 16 50/mV 12 9\n", (signals - 9) / [[100], [50]], 500, False),
        ("r 2 500 0\nr.dat 16 100\nr.dat 16 100\n", signals / 100, 500, False),
        ("r 2 500 300 10:00:00 01/02/1990\nr.dat 16 100\nr.dat 16 100\n", signals / 100, 500, False),
        ("r 2 500 300 24:61 00/00/0000\nr.dat 16 100\nr.dat 16 100\n", signals / 100, 500, False),
        ("#c\r\nr\t2 500/360(12.5) 300\r\nr.dat\t16 100\r\n# c\r\nr.dat 16 100\r\n", signals / 100, 500, False),
    ):
        (tmp_path / "r.hea").write_text(header)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            record = read_record(path)
        np.testing.assert_allclose(record.signal, wanted, rtol=1e-6)
        assert record.fs == fs and record.leads == ("signal 0", "signal 1")
        assert [("no gain for signal 0, signal 1" in str(each.message)) for each in found] == [True] * told


@pytest.mark.parametrize(("header", "told"), [
    ("", "gives no record name"), ("r", "gives no record name"), ("r two", "number of signals, 'two'"),
    ("r 2 0 300", "rate '0'"), ("r 2 nan 300", "rate 'nan'"), ("r 2 1e999 300", "not a positive number"),
    ("r 2 500 -3", "number of samples, '-3'"), ("r 2 500 300\nr.dat 16", "announces 2 signals and describes 1"),
    ("r 1 500 300\nr.dat", "no file and format"), ("r 1 500 300\nr.dat 16y 100", "no file and format"),
    ("r 1 500 300\nr.dat 16 many", "gain 'many'"), ("r 1 500 300\nr.dat 16 1e999", "not finite"),
    ("r 1 500 300\nr.dat 99 100", "format 99, which npunet does not read"),
    ("r 1 500 300\n../r.dat 16 100", "outside of its folder"), ("r 1 500 300\n/etc/passwd 16 100", "outside"),
    ("r 1 500 300\nq.dat 16 100", r"q\.dat is missing"), ("r 0 500 300", "no signals"),
    ("r 1 500 99999999999999\nr.dat 16 100", "cut short"), ("r 99999999 500 300", "number of signals"),
    ("r 1 500 300\nr.dat 16x999999999 100", "out of range"), ("r/2 1 500 600\nr 300\nr 300", "has segments itself"),
    ("r/1 1 500 300\n~ 300", "its segments have 300"), ("r/2 1 500 300\nx 300", "announces 2 segments"),
])
def test_headers_that_are_none(tmp_path, rng, header, told):
    path = write(tmp_path, drawn(rng, 16, 2, 300))
    (tmp_path / "r.hea").write_text(header)
    with pytest.raises(ValueError, match=told) as error:
        read_record(path)
    assert str(tmp_path / "r") in str(error.value) and "\n" not in str(error.value)


def test_a_checksum_that_contradicts_the_samples(tmp_path, rng):
    signals = drawn(rng, 16)
    path = write(tmp_path, signals)
    content = bytearray((tmp_path / "r.dat").read_bytes())
    content[42] ^= 4
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(ValueError, match=r"checksum of its lead 'II' is .*verify=False"):
        read_record(path)
    assert np.count_nonzero(read_record(path, verify=False).signal != (signals / 200).astype(np.float32)) == 1
    np.testing.assert_array_equal(read_record(path, ["I"]).signal[0], (signals[0] / 200).astype(np.float32))
    write(tmp_path, signals, sums=False)                                     # zeros stand for "not summed"
    assert read_record(path).signal.shape == (2, 101)


def test_leads_of_one_name(tmp_path, rng):
    signals = drawn(rng, 16, 3)
    path = write(tmp_path, signals, names=["II", "ii", "V1"])
    assert read_record(path).leads == ("II", "ii", "V1")
    np.testing.assert_array_equal(read_record(path, ["ii", "v1"]).signal, read_record(path).signal[1:])
    with pytest.raises(ValueError, match="2 leads called 'iI', II, ii"):
        read_record(path, ["iI"])
    with pytest.raises(ValueError, match="names no lead"):
        read_record(path, [])
    with pytest.raises(ValueError, match="must be a list of names"):
        read_record(path, "ii")
    mark(tmp_path / "r.ii", [(3, "("), (4, "N"), (6, ")")])
    record = read_record(path, ["ii", "V1"])
    assert record.spans.tolist() == [[3, 7], [0, 0]]
    with pytest.raises(ValueError, match=r"r\.ii could belong to any of its leads II, ii"):
        read_record(path)
    path = write(tmp_path, signals, names=["II", "II", "V1"], name="q")
    assert read_record(path).leads == ("II", "II", "V1")
    mark(tmp_path / "q.ii", [(3, "("), (4, "N"), (6, ")")])
    with pytest.raises(ValueError, match=r"q\.ii could belong"):
        read_record(path)


def test_several_rates_in_a_record(tmp_path, rng):
    frame = rng.integers(-500, 500, (50, 6))
    (tmp_path / "r.dat").write_bytes(packed(frame.reshape(-1), 16))
    (tmp_path / "r.hea").write_text("r 2 100 50\nr.dat 16x4 200 16 0 0 0 0 II\nr.dat 16x2 200 16 0 0 0 0 RESP\n")
    with pytest.raises(ValueError, match=r"several rates: II 400 Hz, RESP 200 Hz; choose leads of one rate.*leads="):
        read_record(tmp_path / "r")
    record = read_record(tmp_path / "r", ["RESP"])
    assert record.fs == 200
    np.testing.assert_allclose(record.signal[0], frame[:, 4:].reshape(-1) / 200, rtol=1e-6)
    mark(tmp_path / "r.ii", [(10, "("), (11, "N"), (12, ")")])               # annotations count frames
    found = read_record(tmp_path / "r", ["II"])
    assert found.fs == 400 and found.spans.tolist() == [[40, 49]]


def test_skew_is_taken_back(tmp_path, rng):
    signals = drawn(rng, 16, 2, 60)
    path = write(tmp_path, signals)
    (tmp_path / "r.hea").write_text((tmp_path / "r.hea").read_text().replace("r.dat 16 ", "r.dat 16:4 ", 1))
    record = read_record(path)
    np.testing.assert_allclose(record.signal[0, :56], signals[0, 4:] / 200, rtol=1e-6)
    assert np.isnan(record.signal[0, 56:]).all() and not np.isnan(record.signal[1]).any()


def test_segments_in_a_row(tmp_path, rng):
    parts = [drawn(rng, 16, 2, length) for length in (40, 25)]
    for name, part in zip("ab", parts, strict=True):
        write(tmp_path, part, name=name)
    (tmp_path / "m.hea").write_text("m/3 2 500 75\na 40\n~ 10\nb 25\n")
    record = read_record(tmp_path / "m")
    wanted = np.concatenate([parts[0], np.full((2, 10), np.nan), parts[1]], 1) / 200
    np.testing.assert_allclose(record.signal, wanted, rtol=1e-6)
    mark(tmp_path / "m.ii", [(60, "("), (61, "N"), (62, ")")])
    assert read_record(tmp_path / "m", ["II"]).spans.tolist() == [[60, 63]]
    for header, told in (("m/2 2 500 75\na 40\nb 25\n", "says 75 samples, and its segments have 65"),
                         ("m/2 2 500 66\na 41\nb 25\n", "segment a has 40 samples, and the record says 41"),
                         ("m/2 2 250 65\na 40\nb 25\n", "segment a is at 500 Hz, the record at 250")):
        (tmp_path / "m.hea").write_text(header)
        with pytest.raises(ValueError, match=told):
            read_record(tmp_path / "m")
    (tmp_path / "m.hea").write_text("m/2 2 500 65\na 40\nc 25\n")
    with pytest.raises(FileNotFoundError, match=r"c\.hea"):
        read_record(tmp_path / "m")


def test_a_gap_is_no_way_to_take_all_memory(tmp_path, rng):
    write(tmp_path, drawn(rng, 16, 1, 40), name="a")
    (tmp_path / "m.hea").write_text("m/2 1 500 99999999999940\na 40\n~ 99999999999900\n")
    with pytest.raises(ValueError, match=r"its signal needs .* of memory"):
        read_record(tmp_path / "m")


def test_segments_that_hold_other_leads(tmp_path, rng):
    wfdb = pytest.importorskip("wfdb")
    a, b = drawn(rng, 16, 2, 40), drawn(rng, 16, 2, 25)
    write(tmp_path, a, name="a", names=["II", "V1"])
    write(tmp_path, b, name="b", names=["V1", "aVR"], gain="100(0)")
    layout = [f"~ 0 200/mV 12 0 0 0 0 {name}" for name in ("II", "V1", "aVR")]
    (tmp_path / "l.hea").write_text("\n".join(["l 3 500 0", *layout, ""]))
    (tmp_path / "m.hea").write_text("m/4 3 500 70\nl 0\na 40\n~ 5\nb 25\n")
    record = read_record(tmp_path / "m")
    assert record.leads == ("II", "V1", "aVR")
    np.testing.assert_allclose(record.signal, wfdb.rdrecord(str(tmp_path / "m")).p_signal.T, rtol=1e-6)
    np.testing.assert_array_equal(read_record(tmp_path / "m", ["aVR"]).signal[0], record.signal[2])
    (tmp_path / "m.hea").write_text("m/2 2 500 65\na 40\nb 25\n")
    with pytest.raises(ValueError, match="different leads"):
        read_record(tmp_path / "m")


# --- annotations ---

def mark(path, marks, rate=None):
    """An annotation file by the wfdb package: (sample, symbol) pairs that count at `rate`."""
    wfdb = pytest.importorskip("wfdb")
    at, symbols = zip(*marks, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # wfdb uses what pandas gives up
        wfdb.wrann(path.stem, path.suffix[1:], np.array(at), list(symbols), fs=rate, write_dir=str(path.parent))


@pytest.mark.parametrize("rate", [None, 250, 500, 1000, 360.5, 128])
def test_marks_count_at_their_own_rate(tmp_path, rng, rate):
    path = write(tmp_path, drawn(rng, 16, 1, 3000), names=["ii"])
    times = np.sort(rng.choice(np.arange(5, 590), 60, replace=False)) / 100  # s
    own = rate or 500
    marks = [(round(time * own), symbol) for time, symbol in zip(times, ["(", "N", ")"] * 20, strict=True)]
    mark(tmp_path / "r.ii", marks, rate)
    labels, span = annotation_labels([int(np.floor(at * 500 / own + 0.5)) for at, _ in marks],
                                     [symbol for _, symbol in marks], 3000)
    record = read_record(path)
    np.testing.assert_array_equal(record.labels[0], labels)
    assert tuple(record.spans[0]) == span
    assert np.abs(np.flatnonzero(np.diff(record.labels[0] > 0))[::2] / 500 - times[::3]).max() < 1 / own + 1 / 500


def test_marks_outside_of_the_record_are_cut():
    for marks, labelled, span in (
        ([(-40, "("), (-20, "N"), (-5, ")"), (10, "("), (12, "N"), (14, ")")], range(10, 15), (0, 15)),
        ([(-40, "("), (-20, "N"), (5, ")")], range(6), (0, 6)),
        ([(-40, "("), (-20, "N"), (-1, ")")], range(0), (0, 0)),
        ([(90, "("), (95, "N"), (300, ")")], range(90, 100), (90, 100)),
        ([(190, "("), (195, "N"), (300, ")")], range(0), (0, 0)),
        ([(-3, "N"), (-2, ")"), (99, "("), (100, "t"), (101, ")")], range(99, 100), (0, 100)),
    ):
        labels, found = annotation_labels(*zip(*marks, strict=True), length=100)
        np.testing.assert_array_equal(np.flatnonzero(labels), list(labelled))
        assert found == span


@pytest.mark.parametrize(("marks", "wanted"), [
    ("10( 500( 510N 520)", {2: (500, 520)}),                                 # an onset that nothing follows
    ("10( 30( 60N 80)", {2: (10, 80)}),                                      # one made twice
    ("10N 200N 400N 420)", {2: (400, 420)}),                                 # beats alone, and one with an end
    ("10p 40N 60)", {2: (40, 60)}),                                          # an end belongs to the last peak
    ("10( 20p 40N 60)", {1: (10, 20), 2: (40, 60)}),
    ("10( 20N 22N 400t 420)", {2: (10, 20), 3: (400, 420)}),
])
def test_marks_far_apart_are_of_different_waves(tmp_path, rng, marks, wanted):
    path = write(tmp_path, drawn(rng, 16, 1, 1000), names=["ii"])
    mark(tmp_path / "r.ii", [(int(each[:-1]), each[-1]) for each in marks.split()], None)
    labels = np.zeros(1000, np.uint8)
    for label, (onset, offset) in wanted.items():
        labels[onset : offset + 1] = label
    np.testing.assert_array_equal(read_record(path).labels[0], labels)


def test_a_gain_that_leaves_float32_is_refused(tmp_path, rng):
    path = write(tmp_path, drawn(rng, 16, 1, 100), gain="1e-300(0)")
    with pytest.raises(ValueError, match=r"gain 1e-300 cannot be right"):
        read_record(path)


def test_marks_are_read_as_the_wfdb_package_reads_them(tmp_path, rng):
    wfdb = pytest.importorskip("wfdb")
    from npunet.data.wfdb_annotations import read_annotation

    known = ["(", ")", *WAVES, "V", "+", "~", "A", '"']
    for seed in range(20):
        steps = rng.integers(0, 4000, 50) * rng.choice([1, 1, 300], 50)
        marks = list(zip(np.cumsum(steps).tolist(), rng.choice(known, 50).tolist(), strict=True))
        at, symbols = zip(*marks, strict=True)
        notes = [["", "a note", "odd"][n] for n in rng.integers(0, 3, 50)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wfdb.wrann("a", "ii", np.array(at), list(symbols), aux_note=notes, num=rng.integers(0, 5, 50),
                       chan=rng.integers(0, 3, 50), fs=[None, 360][seed % 2], write_dir=str(tmp_path))
            theirs = wfdb.rdann(str(tmp_path / "a"), "ii")
        samples, symbols, rate = read_annotation(tmp_path / "a.ii")
        wave = [n for n, symbol in enumerate(symbols) if symbol in ("(", ")", *WAVES)]
        assert rate == [None, 360][seed % 2]
        ours = [(samples[n], symbols[n]) for n in wave]
        pairs = zip(theirs.sample.tolist(), theirs.symbol, strict=True)
        assert ours == [(at, symbol) for at, symbol in pairs if symbol in ("(", ")", *WAVES)]


def test_an_annotation_that_is_none(tmp_path, rng):
    path = write(tmp_path, drawn(rng, 16, 1), names=["ii"])
    mark(tmp_path / "r.ii", [(10, "("), (11, "N"), (12, ")")], 250)
    whole = (tmp_path / "r.ii").read_bytes()
    (tmp_path / "r.ii").write_bytes(whole[:-2])
    with pytest.raises(ValueError, match=r"r\.ii is an annotation that cannot be read: it is cut short"):
        read_record(path)
    for bad in (b"0.0", b"abc", b"-25", b"inf"):
        (tmp_path / "r.ii").write_bytes(whole.replace(b"250", bad[:3]))
        with pytest.raises(ValueError, match="time resolution"):
            read_record(path)
    assert at_rate([3, 5], 200, 100) == [2, 3] and at_rate([-3], 200, 100) == [-1]


@pytest.mark.parametrize("fill", [0, 37, -32768])
def test_a_lead_that_says_nothing_is_told(tmp_path, rng, fill):
    signals = drawn(rng, 16)
    signals[1] = fill
    told = {0: "II is all zero", 37: r"II is constant \(0\.185\)", -32768: "II is all NaN"}[fill]
    with pytest.warns(UserWarning, match=f"lead {told}"):
        read_record(write(tmp_path, signals))
