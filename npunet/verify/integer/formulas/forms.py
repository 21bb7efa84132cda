"""What a port may have in place of a value, an index, a loop: by how likely it is, in words, as a form of the text.

0 is likely, 3 far-fetched. {} is the expression itself.
"""

from __future__ import annotations

INDICES = ("i", "j", "f", "c", "ky", "kx", "n", "k", "row", "column")
BITS = (8, 16, 24, 32)
VALUES = (  # of a value that is computed or read
    (0, "with the wrong sign", "-({})"), (0, "left out: 0", "0 * ({})"), (0, "twice", "2 * ({})"),
    (1, "half of it", "({}) >> 1"), (1, "one more", "({}) + 1"), (1, "one less", "({}) - 1"),
    (1, "its magnitude", "abs({})"), (1, "nothing below 0", "maximum({}, 0)"),
    (1, "without its lowest bit", "({}) & ~1"), (2, "without its lower four bits", "({}) & ~15"),
    (2, "nothing above 0", "minimum({}, 0)"), (2, "four times", "4 * ({})"), (2, "a quarter of it", "({}) >> 2"),
    (1, "128 more", "({}) + 128"), (1, "128 less", "({}) - 128"),
    (2, "its lower seven bits, wrapping", "wrap({}, 7)"), (2, "its lower four bits, wrapping", "wrap({}, 4)"),
    (2, "saturated at seven bits", "saturate({}, 7)"),
    *((1, f"in {bits} bits that wrap", f"wrap({{}}, {bits})") for bits in BITS),
    *((1, f"in {bits} bits that saturate", f"saturate({{}}, {bits})") for bits in BITS),
    *((1, f"as {bits} bits without a sign", f"unsigned({{}}, {bits})") for bits in BITS),
    (2, "in float32", "as_float32({})"), (2, "in units of 256", "({}) >> 8 << 8"),
    (2, "its upper 16 bits", "({}) >> 16"),
    (2, "256 times", "({}) << 8"), (2, "a 256th of it", "({}) >> 8"), (2, "16 times", "({}) << 4"),
    (2, "a 16th of it", "({}) >> 4"), (2, "eight times", "({}) << 3"), (2, "an eighth of it", "({}) >> 3"),
    (2, "its two halves of 16 bits exchanged", "wrap(({0}) << 16 | ({0}) >> 16 & 65535, 32)"),
    *((2, f"0 where its magnitude is at most {size}", f"where(abs({{0}}) > {size}, {{0}}, 0)") for size in
      (1, 2, 3, 4, 7, 8, 15)),
    *((2, f"its lowest {bits} bits cleared", f"({{}}) >> {bits} << {bits}") for bits in (2, 3, 5, 6)),
    *((2, f"rounded to a multiple of {1 << bits}", f"(({{}}) + {1 << bits - 1}) >> {bits} << {bits}") for bits in
      (1, 2, 3, 4)),
    (2, "without its sign bit", "({}) & 127"), (2, "inverted bit by bit", "~({})"),
    (2, "rounded to its upper bits, the lower 8 being 0", "({} + 128) >> 8 << 8"),
    (2, "rounded to its upper bits, the lower 16 being 0", "({} + 32768) >> 16 << 16"),
    (2, "rounded to its upper bits, the lower 24 being 0", "({} + 8388608) >> 24 << 24"),
    (2, "its upper bits, the lower 24 being 0", "({}) >> 24 << 24"), (2, "the sign alone", "sign({})"),
    (2, "its two bytes exchanged", "swapped({}, 2)"), (2, "its four bytes exchanged", "swapped({}, 4)"),
    *((2, f"in {bits} bits that saturate", f"saturate({{}}, {bits})") for bits in (9, 12, 15, 20, 26, 28, 30)),
    *((2, f"in {bits} bits that wrap", f"wrap({{}}, {bits})") for bits in (9, 12, 15, 20, 26, 28, 30)),
)
LIKELY_VALUES = tuple(each for each in VALUES if each[0] < 2)
COUNTED = (  # of an index with its extent
    (0, "{name} from the end backward", "{end} - 1 - {name}"),
    (0, "the next {name}, around the end", "({name} + 1) % {end}"),
    (0, "the {name} before, around the end", "({name} + {end} - 1) % {end}"), (1, "the next {name}", "({name} + 1)"),
    (1, "the {name} before", "({name} - 1)"),
    (1, "the next {name}, at most the last", "minimum({name} + 1, {end} - 1)"),
    (1, "the {name} before, at least the first", "maximum({name} - 1, 0)"), (1, "{name} modulo 2", "{name} % 2"),
    (1, "{name} modulo 4", "{name} % 4"), (1, "{name} modulo 8", "{name} % 8"), (1, "{name} / 2", "({name} // 2)"),
    (1, "{name} in pairs", "({name} // 2 * 2)"), (1, "twice {name}", "(2 * {name})"),
    (1, "twice {name}, around the end", "(2 * {name} % {end})"), (2, "{name} in blocks of four", "({name} // 4 * 4)"),
    (2, "{name} kept inside", "minimum(maximum({name}, 0), {end} - 1)"),
    (2, "{name} around the ends", "({name} % {end})"), (2, "{name} + 2", "({name} + 2)"),
    (2, "{name} - 2", "({name} - 2)"),
    (1, "the other of every two {name}", "({name} ^ 1)"), (1, "the last {name} for all", "{end} - 1"),
)
IN_A_LOOP = (  # in which rounds of a loop alone a change may stand
    ("in what is left of blocks of 4 channels", "c >= s.c // 4 * 4"), ("in blocks of 4 channels", "c < s.c // 4 * 4"),
    ("in what is left of blocks of 8 channels", "c >= s.c // 8 * 8"), ("in channel 0 of the input", "c == 0"),
    ("in the last channel of the input", "c == s.c - 1"), ("in every second channel of the input", "c % 2 == 1"),
    ("in the first row of taps", "ky == 0"), ("in the last row of taps", "ky == s.kh - 1"),
    ("in the first column of taps", "kx == 0"), ("in the last column of taps", "kx == s.kw - 1"),
    ("in the first row of the image", "row == 0"), ("in the last row of the image", "row == s.h - 1"),
    ("in the first column of the image", "column == 0"), ("in the last column of the image", "column == s.w - 1"),
    ("in the first half of the input's channels", "c < s.c // 2"),
    ("in the second half of the input's channels", "c >= s.c // 2"),
    ("in every second column of taps", "kx % 2 == 1"), ("in every second row of taps", "ky % 2 == 1"),
)
FAR_FETCHED = 2
LARGE = 1024  # constants of which other near ones are tried
INDEXED = (  # of the index of an array
    (0, "element 0 for all", "0 * ({})"), (0, "one element on", "({}) + 1"), (0, "one element before", "({}) - 1"),
    (1, "modulo 2", "({}) % 2"), (1, "modulo 4", "({}) % 4"), (1, "modulo 8", "({}) % 8"),
    (1, "modulo 16", "({}) % 16"),
    (1, "every second one", "({}) // 2 * 2"), (1, "half the index", "({}) // 2"), (1, "twice the index", "2 * ({})"),
    (1, "the other of every two", "({}) ^ 1"), (2, "two elements on", "({}) + 2"),
    (2, "two elements before", "({}) - 2"), (2, "four elements on", "({}) + 4"), (2, "four before", "({}) - 4"),
    (2, "in blocks of four", "({}) // 4 * 4"),
    *((2, f"modulo {size}", f"({{}}) % {size}") for size in (3, 32, 64, 128, 256)),
)
LOOPS = (  # of range(n)
    (0, "the last round is left out", "{call}({n} - 1)"), (0, "the first round is left out", "{call}(1, {n})"),
    (1, "the first and the last round are left out", "{call}(1, {n} - 1)"),
    (1, "the last two rounds are left out", "{call}({n} - 2)"), (1, "one round too many", "{call}({n} + 1)"),
    (1, "the first two rounds are left out", "{call}(2, {n})"),
    (1, "what is left of blocks of 4 is left out", "{call}({n} // 4 * 4)"),
    (1, "what is left of blocks of 8 is left out", "{call}({n} // 8 * 8)"),
    (1, "what is left of pairs is left out", "{call}({n} // 2 * 2)"),
    (1, "every second round alone", "{call}(0, {n}, 2)"),
    (1, "every second round alone, from 1 on", "{call}(1, {n}, 2)"),
    (1, "the first half alone", "{call}({n} // 2)"), (1, "the second half alone", "{call}({n} // 2, {n})"),
    (1, "the first round alone", "{call}(1)"), (1, "the last round alone", "{call}({n} - 1, {n})"),
    (1, "the middle round alone", "{call}({n} // 2, {n} // 2 + 1)"),
    (1, "the first round twice", "{call}(once_more(range({n}), [0]))"),
    (1, "the last round twice", "{call}(once_more(range({n}), [{n} - 1]))"),
    (1, "every round twice", "{call}(once_more(range({n}), range({n})))"),
    (2, "what is left of blocks of 4 twice", "{call}(once_more(range({n}), range({n} // 4 * 4, {n})))"),
    (2, "what is left of pairs twice", "{call}(once_more(range({n}), range({n} // 2 * 2, {n})))"),
    (2, "at most 4 rounds", "{call}(minimum({n}, 4))"), (2, "at most 8 rounds", "{call}(minimum({n}, 8))"),
    *((2, f"at most {count} rounds", f"{{call}}(minimum({{n}}, {count}))") for count in (16, 32, 64, 128, 256)),
    (2, "the last three rounds are left out", "{call}({n} - 3)"),
    (2, "the second round is left out", "{call}(without(range({n}), 1))"),
    (2, "the middle round is left out", "{call}(without(range({n}), {n} // 2))"),
    (2, "every third round alone", "{call}(0, {n}, 3)"),
    (2, "the last round is in place of the first", "{call}(once_more(range(1, {n}), [{n} - 1]))"),
    (2, "the first round is in place of the last", "{call}(once_more(range({n} - 1), [0]))"),
    (2, "what is left of blocks of 4 alone", "{call}({n} // 4 * 4, {n})"),
)
