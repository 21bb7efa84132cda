"""Damaged files: whatever stands in them, a reader gives an array or one line that says what is wrong.

A hundred mutations of each kind of file; NPUNET_THOROUGH=1 makes it ten thousand of each.
"""

import os
import struct
import warnings

import numpy as np
import pytest
from test_read_records import packed

from npunet.data import read_image, read_mask, read_record, read_table
from npunet.data.synthetic import synthetic_ecg

COUNT = 10_000 if os.environ.get("NPUNET_THOROUGH") else 100
TOKENS = [b"", b"0", b"-1", b"1e999", b"nan", b"9" * 30, b"/", b"~", b",", b";", b'"', b"'", b"\n", b"\r", b" ", b"\t",
          b"#", b"\xb5", b"\xff\xfe", b"\0", b"sep=", b":", b"x65535", b"+99999999999", b"(", b"24:61:61",
          b"2024-13-41", b"=", b"_"]
ALLOWED = (ValueError, OSError)


def wfdb(folder):
    """A record of three segments, in 16 bits, missing and in 12, with an annotation; its files and what reads them."""
    signal = np.rint(synthetic_ecg(0.8, 250, seed=1)[0] * 200).astype(int)
    for name, form in (("a", 16), ("b", 212)):
        (folder / f"{name}.dat").write_bytes(packed(signal, form))
        (folder / f"{name}.hea").write_bytes(f"{name} 1 250 200\n{name}.dat {form} 200(0)/\xb5V 16 0 {signal[0]} "
                                             f"{signal.sum() & 0xFFFF} 0 ii\n".encode("latin-1"))
    (folder / "r.hea").write_text("r/3 1 250 420\na 200\n~ 20\nb 200\n")
    told = struct.unpack("<12H", b"## time resolution: 500.")
    words = [22 << 10, (63 << 10) + 24, *told, (39 << 10) + 40, (1 << 10) + 9, (40 << 10) + 9, 59 << 10, 0, 70,
             (24 << 10) + 3, (40 << 10) + 5, 0]
    (folder / "r.ii").write_bytes(struct.pack(f"<{len(words)}H", *words))
    return ["r.hea", "a.hea", "b.hea", "a.dat", "b.dat", "r.ii"], lambda: read_record(folder / "r")


def table(folder):
    lead = synthetic_ecg(0.6, 250, seed=2)[0]
    rows = [f"{n / 250:.3f};{value:.4f};{-value:.4f}".replace(".", ",") for n, value in enumerate(lead)]
    (folder / "t.csv").write_text("\n".join(["# made", "time;Lead II (mV);V1", *rows, ""]))
    return ["t.csv"], lambda: read_table(folder / "t.csv")


def array(folder):
    np.save(folder / "m.npy", (np.arange(16 * 21).reshape(16, 21) % 3).astype(np.uint16))
    return ["m.npy"], lambda: (read_mask(folder / "m.npy", 3), read_image(folder / "m.npy"))


def picture(suffix, **options):
    def make(folder):
        image_module = pytest.importorskip("PIL.Image")
        values = np.where(np.arange(16)[:, None] > np.arange(21), 255, 0)
        values = values.astype(np.uint16 if suffix == "tif" else np.uint8)
        told = image_module.Exif()
        told[0x0112] = 6
        image_module.fromarray(values).save(folder / f"m.{suffix}", exif=told, **options)
        return [f"m.{suffix}"], lambda: (read_image(folder / f"m.{suffix}"), read_mask(folder / f"m.{suffix}", 2))

    return make


def wide(folder):
    values = (np.arange(16 * 21).reshape(16, 21) % 3).astype(np.int64)
    pytest.importorskip("tifffile").imwrite(folder / "m.tif", values, compression="zlib")
    return ["m.tif"], lambda: (read_image(folder / "m.tif"), read_mask(folder / "m.tif", 3))


KINDS = {"wide tif": wide, "wfdb": wfdb, "csv": table, "npy": array, "png": picture("png"), "jpg": picture("jpg"),
         "tif": picture("tif"), "lzw": picture("tif", compression="tiff_lzw")}


def mutated(content, generator):
    """The bytes of a file with one to four faults: bits, cuts, copies, tokens, extreme numbers."""
    content = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        at, other = (int(place) for place in generator.integers(0, len(content) + 1, 2))
        kind = int(generator.integers(0, 8))
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            content = content[:at]
        elif kind == 2:
            del content[min(at, other) : min(at, other) + int(generator.integers(1, 20))]
        elif kind == 3:
            content[at:at] = content[other : other + int(generator.integers(1, 60))]
        elif kind == 4:
            content[at : at + 4] = struct.pack("<I", int(generator.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])))
        elif kind == 5:
            content[at : at + int(generator.integers(1, 9))] = generator.bytes(int(generator.integers(1, 9)))
        else:
            content[at : at + int(generator.integers(0, 4))] = TOKENS[int(generator.integers(len(TOKENS)))]
    return bytes(content)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damaged_files_give_an_array_or_one_line(tmp_path, kind):
    names, read = KINDS[kind](tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read()
        refused = 0
        for seed in range(COUNT):
            generator = np.random.default_rng([seed, sorted(KINDS).index(kind)])
            name = names[int(generator.integers(len(names)))]
            (tmp_path / name).write_bytes(mutated(whole[name], generator))
            try:
                read()
            except ALLOWED as error:
                refused += 1
                told = str(error)
                assert told and "\n" not in told and len(told) < 2000, f"seed {seed}: {told}"
            except BaseException as error:
                raise AssertionError(f"seed {seed} of {name}: {type(error).__name__}: {error}") from error
            (tmp_path / name).write_bytes(whole[name])
    assert refused > COUNT / 4, "most mutations do damage"


def test_one_flipped_bit_of_a_signal_is_noticed(tmp_path):
    _, read = wfdb(tmp_path)
    whole = (tmp_path / "a.dat").read_bytes()
    generator = np.random.default_rng(1)
    for bit in generator.choice(8 * len(whole), min(COUNT, 8 * len(whole)), replace=False):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.dat").write_bytes(content)
        with pytest.raises(ValueError, match="checksum"):
            read()


def test_one_flipped_bit_of_a_png_changes_no_pixel(tmp_path):
    _, read = picture("png")(tmp_path)
    whole, image, mask = (tmp_path / "m.png").read_bytes(), *read()
    generator = np.random.default_rng(2)
    for bit in generator.choice(8 * len(whole), min(COUNT, 8 * len(whole)), replace=False):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / "m.png").write_bytes(content)
        try:
            found, labels = read()
        except ValueError:
            continue
        assert np.array_equal(found, image) and np.array_equal(labels, mask), f"bit {bit}"
