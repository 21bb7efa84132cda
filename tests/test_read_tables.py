"""Tables: however one is written, its cells stay where they are; what two readings fit is asked for."""

import datetime

import numpy as np
import pytest

from npunet.data import read_table
from npunet.data.synthetic import synthetic_ecg

LENGTH = 400
LEAD = np.round(synthetic_ecg(LENGTH / 100, 100, seed=2)[0].astype(float), 4)
BOTH = np.stack([LEAD, -LEAD])


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def rows(separator, *columns, decimal=".", head=None, end="", form="{:.4f}"):
    """A table of columns of numbers or of texts."""
    cells = [[each if isinstance(each, str) else form.format(each).replace(".", decimal) for each in column]
             for column in columns]
    lines = [separator.join(row) + end for row in zip(*cells, strict=True)]
    return "\n".join(([] if head is None else [head]) + lines) + "\n"


def same(found, signal, fs=None, names=None):
    np.testing.assert_allclose(found[0], np.atleast_2d(signal), rtol=1e-9, atol=1e-12)
    assert found[1] == fs and (names is None or found[2] == names)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_separators_and_decimal_signs(tmp_path, separator, decimal, end):
    if separator == decimal:
        return
    times = np.arange(LENGTH) / 250
    for columns, names, wanted in (((LEAD, -LEAD), ("II", "V1"), (BOTH, None)), ((times, *BOTH), ("time", "II", "V1"),
                                                                                 (BOTH, 250))):
        for head in (None, separator.join(names)):
            path = write(tmp_path, rows(separator, *columns, decimal=decimal, head=head).replace("\n", end))
            same(read_table(path), *wanted, None if head is None else ("II", "V1"))
    for head in (None, "ECG"):
        same(read_table(write(tmp_path, rows("", LEAD, decimal=decimal, head=head).replace("\n", end))), LEAD)


def test_whole_numbers_between_commas(tmp_path):
    counts = np.round(BOTH * 1000).astype(int)
    same(read_table(write(tmp_path, rows(",", *counts, form="{}"))), counts)
    positive = counts + 2000
    path = write(tmp_path, rows(",", *positive, form="{}"))
    with pytest.raises(ValueError, match=r"commas between whole numbers or within .*decimal=',' .*separator=','"):
        read_table(path)
    same(read_table(path, separator=","), positive)
    same(read_table(path, decimal="."), positive)
    assert read_table(path, decimal=",")[0].shape == (1, LENGTH)
    same(read_table(write(tmp_path, rows(",", *positive, form="{}", head="a,b"))), positive, None, ("a", "b"))
    same(read_table(write(tmp_path, rows(",", *positive, positive[0], form="{}"))), [*positive, positive[0]])
    with pytest.raises(ValueError, match=r"1,234 may be a decimal fraction or thousands; say decimal=','"):
        read_table(write(tmp_path, "1,234;2,500\n" * 30))


def test_blank_cells_stay_where_they_are(tmp_path):
    lines = rows(",", *BOTH).splitlines()
    lines[10], lines[20], lines[30], lines[40] = "", ",", f"{LEAD[30]:.4f},", f"nan,{-LEAD[40]:.4f}"
    wanted = BOTH.copy()
    wanted[:, [10, 20]] = wanted[1, 30] = wanted[0, 40] = np.nan
    path = write(tmp_path, "\n\n" + "\n".join(lines) + "\n\n\n")
    same(read_table(path), wanted)
    same(read_table(path, blank_rows="skip"), np.delete(wanted, 10, 1))
    first = write(tmp_path, "a,b\n,\n" + rows(",", *BOTH))
    same(read_table(first), np.pad(BOTH, ((0, 0), (1, 0)), constant_values=np.nan))
    alone = rows(",", LEAD, head="a").splitlines()
    for at, blank in zip((6, 8, 10, 12, 14), ("", "NaN", "-", "N/A", '""'), strict=True):
        alone[at] = blank
    missing = LEAD.copy()
    missing[[5, 7, 9, 11, 13]] = np.nan
    same(read_table(write(tmp_path, "\n".join(alone))), missing)
    with pytest.raises(ValueError, match=r"399 blank lines .* say by blank_rows="):
        read_table(write(tmp_path, rows(",", *BOTH).replace("\n", "\n\n")))
    times = np.arange(LENGTH) / 250
    timed = rows(",", times, LEAD, head="time,a").splitlines()
    timed[51] = ""
    wanted = LEAD.copy()
    wanted[50] = np.nan
    same(read_table(write(tmp_path, "\n".join(timed))), wanted, 250)


def test_comments_quotes_and_trailing_separators(tmp_path):
    for text, names in (
        (rows(",", *BOTH, end=","), None), (rows(",", *BOTH, head="a,b", end=","), ("a", "b")),
        (rows(";", *BOTH, head="a;b;;", end=";;"), ("a", "b")), ("sep=;\r\n" + rows(";", *BOTH, decimal=","), None),
        ("SEP=,\n" + rows(",", *BOTH, head="a,b"), ("a", "b")), ("# made\n% by\n" + rows(",", *BOTH), None),
        (rows(",", *BOTH, head="# a,b"), ("a", "b")), (rows(" ", *BOTH, head="# a b"), ("a", "b")),
        (rows(",", *BOTH[:, :9]) + "# a pause\n" + rows(",", *BOTH[:, 9:]), None),
        (rows(",", *[[f'"{value}"' for value in lead] for lead in BOTH], head='"a","b, c"'), ("a", "b, c")),
        (rows(",", *[[f"'{value}'" for value in lead] for lead in BOTH], head="'a','b'"), ("a", "b")),
        (rows(", ", *BOTH, head="a, b"), ("a", "b")),
        (rows(",", *[[f'"{value}"'.replace(".", ",") for value in lead] for lead in BOTH], head="a,b"), ("a", "b")),
    ):
        same(read_table(write(tmp_path, text)), BOTH, None, names)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-32"])
def test_encodings(tmp_path, encoding):
    path = write(tmp_path, rows(",", *BOTH, head="II (µV),Ableitung für (µV)"), encoding)
    same(read_table(path), BOTH / 1000, None, ("II", "Ableitung für"))
    for wrong, told in (("klingon", "encoding='klingon' is not known"), ("ascii", "it is not ascii")):
        if wrong != "ascii" or encoding == "utf-8":
            with pytest.raises(ValueError, match=told):
                read_table(path, encoding=wrong)


@pytest.mark.parametrize(("head", "unit", "name"), [
    ("ECG (uV)", 1e3, "ECG"), ("ECG [mV]", 1, "ECG"), ("ECG_mV", 1, "ECG"), ("ECG/uV", 1e3, "ECG"),
    ("ECG (V)", 1e-3, "ECG"),
    ("ECG (filtered)", 1, "ECG (filtered)"), ("V", 1, "V"), ("ECG\n[mV]", 1, "ECG"), ("ECG\n(uV)", 1e3, "ECG"),
    ("ECG\nmV", 1, "ECG"), ("ECG\nuV", 1e3, "ECG"),
    ("ECG", 1, "ECG"),
])
def test_units(tmp_path, head, unit, name):
    path = write(tmp_path, rows(",", LEAD * unit, head=head, form="{:.9f}"))
    same(read_table(path), LEAD, None, (name,))
    if unit == 1 and head in ("ECG", "V"):
        same(read_table(path, unit="uV"), LEAD / 1000)
    elif unit != 1:
        with pytest.raises(ValueError, match=r"unit='mV' contradicts its column 'ECG'"):
            read_table(path, unit="mV")


def test_columns_that_are_no_voltage_or_no_numbers(tmp_path):
    for head in ("II,ABP\nmV,mmHg", "II (mV),ABP (mmHg)"):
        path = write(tmp_path, rows(",", *BOTH, head=head))
        with pytest.raises(ValueError, match=r"column 'ABP' is in mmHg, which is no voltage; .*leads="):
            read_table(path)
        same(read_table(path, leads=["ii"]), LEAD, None, ("II",))
    path = write(tmp_path, rows(",", LEAD, ["N"] * LENGTH, head="II,ann"))
    with pytest.raises(ValueError, match=r"line 2 has 'N' in column 'ann', which is no number; .*leads="):
        read_table(path)
    same(read_table(path, leads=["II"]), LEAD)
    path = write(tmp_path, rows(",", *BOTH, head="a,a"))
    assert read_table(path)[2] == ("a", "a")
    with pytest.raises(ValueError, match="2 columns called 'a'"):
        read_table(path, leads=["a"])
    with pytest.raises(ValueError, match="no column 'b'; it has a, a"):
        read_table(path, leads=["b"])
    with pytest.raises(ValueError, match="must be a list of names"):
        read_table(path, leads="a")


@pytest.mark.parametrize("rate", [100, 125, 128, 200, 250, 257, 300, 360, 500, 977, 1000])
def test_times_give_the_rate(tmp_path, rate):
    seconds = np.arange(LENGTH) / rate
    for name, scale, form in (("time", 1, "{:.3f}"), ("Time [s]", 1, "{:.6f}"), ("t", 1, "{!r}"),
                              ("seconds", 1, "{:.4e}"),
                              ("time (ms)", 1e3, "{:.0f}"), ("time_ms", 1e3, "{:.2f}"), ("Elapsed time", 1, "{:.4f}"),
                              ("timestamp", 1, "{:.4f}"), ("t_us", 1e6, "{:.0f}")):
        column = [form.format(float(value)) for value in seconds * scale + (1.7e9 if name == "timestamp" else 0)]
        same(read_table(write(tmp_path, rows(",", column, LEAD, head=f"{name},II"))), LEAD, rate, ("II",))
    path = write(tmp_path, rows(",", [f"{value:.6f}" for value in seconds], LEAD))
    same(read_table(path), LEAD, rate)
    assert read_table(path, time=False)[0].shape == (2, LENGTH)


def test_time_stamps_give_the_rate(tmp_path):
    start = datetime.datetime(2024, 2, 28, 23, 59, 59, 500_000)              # over midnight
    stamps = [(start + datetime.timedelta(milliseconds=4 * n)).isoformat(" ", "milliseconds") for n in range(LENGTH)]
    for column, separator, decimal in (
        (stamps, ",", "."), ([s.replace(" ", "T") + "Z" for s in stamps], ",", "."),
        ([s[11:] for s in stamps], ",", "."),
        ([s[11:].replace(".", ",") for s in stamps], ";", ","), ([f"'{s[11:]}'" for s in stamps], ",", "."),
        ([f"{s[8:10]}.{s[5:7]}.{s[:4]} {s[11:]}" for s in stamps], "\t", "."),
        ([f"[{s[11:]} {s[8:10]}/{s[5:7]}/{s[:4]}]" for s in stamps], ",", "."),
        ([f"{n // 250 // 60}:{n / 250 % 60:06.3f}" for n in range(LENGTH)], ",", "."),
    ):
        for head in (None, f"time{separator}II"):
            text = rows(separator, column, LEAD, decimal=decimal, head=head)
            same(read_table(write(tmp_path, text)), LEAD, 250)
    text = rows(",", [s[:10] for s in stamps], [s[11:] for s in stamps], LEAD, head="date,time,II")
    same(read_table(write(tmp_path, text)), LEAD, 250, ("II",))
    path = write(tmp_path, rows(",", [s[:19] for s in stamps], LEAD, head="time,II"))
    with pytest.raises(ValueError, match=r"does not rise from .*too coarse.* time=False"):
        read_table(path)
    same(read_table(path, time=False), LEAD)


def test_running_numbers_are_no_leads(tmp_path):
    count = [str(number) for number in range(LENGTH)]
    later = [str(number + 1) for number in range(LENGTH)]
    for text, names in (
        (rows(",", count, *BOTH, head=",a,b"), ("a", "b")), (rows(",", later, *BOTH, head="sample #,a,b"), ("a", "b")),
        (rows(",", later, *BOTH, head="index,a,b"), ("a", "b")), (rows(",", count, *BOTH), None),
        (rows(",", count, *BOTH, head=",0,1"), ("column 0", "column 1")),
        (rows(",", *BOTH, head="0,1"), ("column 0", "column 1")),
        (rows(",", later, *BOTH, head='"a","b"'), ("a", "b")), (rows("\t", later, *BOTH), None),
    ):
        same(read_table(write(tmp_path, text)), BOTH, None, names)
    text = rows(",", count, [f"{n / 360:.4f}" for n in range(LENGTH)], LEAD, head=",time,a")
    same(read_table(write(tmp_path, text)), LEAD, 360, ("a",))
    same(read_table(write(tmp_path, rows(",", *BOTH, head="I,II"))), BOTH, None, ("I", "II"))
    same(read_table(write(tmp_path, rows(",", *BOTH, head="sample,value"))), BOTH, None, ("sample", "value"))


@pytest.mark.parametrize(("columns", "head", "options", "told"), [
    (lambda t: (np.delete(np.append(t, t[-1] + 0.004), 100), LEAD), "time,a", {}, "spaced: 0.3960 is followed"),
    (lambda t: (np.where(t > 0.8, t + 1, t), LEAD), "time,a", {}, "not evenly spaced"),
    (lambda t: (np.where(t > 0.8, t - 0.8, t), LEAD), "time,a", {}, "does not rise"),
    (lambda t: (t * 1000, LEAD), "time,a", {}, "counts by 4, of a unit that it does not say; .*time_unit="),
    (lambda t: (t, LEAD), "x,a", {}, "column 'x' rises steadily, as times do; say by time='x'.* time=False"),
    (lambda t: (t, LEAD), "time (ms),a", {}, "gives 250000 samples a second; say its unit by time_unit="),
    (lambda t: (t, LEAD), "time (ms),a", {"time_unit": "s"}, "contradicts"),
    (lambda t: (t, LEAD), "time,a", {"time_unit": "weeks"}, "time_unit='weeks' must be one of"),
    (lambda t: (t, t, LEAD), "time,seconds,a", {}, "several columns of times, time, seconds; say by time="),
    (lambda t: (t, LEAD), "time,a", {"time": "clock"}, "no column 'clock'"),
    (lambda t: (t, LEAD), "time,a", {"time": 7}, "no column 7"),
    (lambda t: (t,), "time", {}, "no column of a lead: time are times"),
])
def test_times_that_cannot_be_told(tmp_path, columns, head, options, told):
    path = write(tmp_path, rows(",", *columns(np.arange(LENGTH) / 250), head=head))
    with pytest.raises(ValueError, match=told):
        read_table(path, **options)


def test_options_say_what_times_are(tmp_path):
    times = np.arange(LENGTH) / 250
    same(read_table(write(tmp_path, rows(",", times * 1000, LEAD, head="time,a")), time_unit="ms"), LEAD, 250)
    path = write(tmp_path, rows(",", times, LEAD, head="x,a"))
    same(read_table(path, time="x"), LEAD, 250, ("a",))
    same(read_table(path, time=0), LEAD, 250, ("a",))
    same(read_table(path, time=False), [times, LEAD], None, ("x", "a"))


@pytest.mark.parametrize(("text", "told"), [
    ("", "no rows"), ("\n \n", "no rows"), ("# only\n", "no rows"), ("a,b\n", "no column of numbers"),
    (",".join("1.5" for _ in range(400)), "one row of 400 cells; .*transpose"),
    (rows(",", *np.ones((400, 12))), "400 columns of 12 rows, so its axes are exchanged"),
    (rows(",", *BOTH[:, :50]) + "0.1,oops\n" + rows(",", *BOTH), "line 51 has 'oops' in column 'column 2'"),
    (rows(",", *BOTH[:, :50]) + "0.1,inf\n" + rows(",", *BOTH), "line 51 has 'inf'"),
    (rows(",", *BOTH[:, :50]) + "0.1,1e999\n" + rows(",", *BOTH), "line 51 has a number too large"),
    (rows(",", *BOTH[:, :50]) + "0.1\n" + rows(",", *BOTH), "line 51 has 1 cells, and others have 2"),
    (rows(",", *BOTH)[:-9], "line 400 has 1 cells, and others have 2"),
    ("oops,0.5\n" + rows(",", *BOTH), "line 1, oops, 0.5, is half numbers; .*skip_rows="),
    ("1_000\n2_000\n", "no column of numbers"),
    ("a,b\nc,d\ne,f\n" + rows(",", *BOTH), "lines 1 to 3 are no .*skip_rows="),
    ("a,b,c\n" + rows(",", *BOTH), "header has 3 cells, and its rows have 2"),
    ("a,b\n1st,2nd\n" + rows(",", *BOTH), "second row, '1st, 2nd', is neither numbers nor units"),
    (b"\1\0\2" * 200, "no column of numbers|zero bytes"),
])
def test_tables_that_cannot_be_read(tmp_path, text, told):
    with pytest.raises(ValueError, match=rf"t\.csv cannot be read as a table: .*(?:{told})") as error:
        read_table(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_wrong_options_are_named(tmp_path):
    path = write(tmp_path, rows(",", *BOTH))
    for options in ({"separator": ",,"}, {"decimal": "x"}, {"unit": "W"}, {"skip_rows": -1}, {"blank_rows": "none"},
                    {"separator": ",", "decimal": ","}):
        with pytest.raises(ValueError, match=next(iter(options))):
            read_table(path, **options)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
    same(read_table(write(tmp_path, "Name,Jo\nRate,512\n\n" + rows(",", *BOTH)), skip_rows=2), BOTH)


def test_a_column_that_says_nothing_is_told(tmp_path):
    for column, told in (([""] * LENGTH, "all NaN"), (["0"] * LENGTH, "all zero"),
                         (["0.5"] * LENGTH, r"constant \(0\.5\)")):
        with pytest.warns(UserWarning, match=f"column b is {told}"):
            found = read_table(write(tmp_path, rows(",", LEAD, column, head="a,b")))
        assert found[2] == ("a", "b")
