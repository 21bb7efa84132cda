"""Every operator as text, for single elements of its output and with the names of the generated C.

i, j, f (or c) stand for arrays: one entry for each element looked at. x.read(index, inside) is 0 where not inside.
each(n) is a new first axis of n, total() sums over it. A text is a list of functions; the last one is the operator, of
which a convolution's is two: `accumulate` and `finish`, between which stands what a port shows as its accumulator.
"""

ROUNDING_SHIFT = """
def rounding_shift(x, exponent):
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))
"""
DOUBLING_HIGH = """
def doubling_high(a, b):
    return (a * b + (1 << 30)) >> 31
"""
CLAMP = """
def clamp(x, low, high):
    return stored(minimum(maximum(x, low), high))
"""
REQUANTIZE = {"D": DOUBLING_HIGH + ROUNDING_SHIFT + """
def requantize(x, m, s):
    left = maximum(s, 0)
    right = maximum(-s, 0)
    return rounding_shift(doubling_high(x << left, m), right)
""", "S": """
def requantize(x, m, s):
    total_shift = 31 - s
    return (x * m + (1 << (total_shift - 1))) >> total_shift
"""}
REQUANTIZE_64 = """
def requantize_64(x, m, s):
    total_shift = 15 - s
    reduced = where(m < 0x7FFF0000, (m + 0x8000) >> 16, 0x7FFF)
    return (x * reduced + (1 << (total_shift - 1))) >> total_shift
"""
CONV2D = """
def accumulate(i, j, f):
    acc = bias[f]
    for ky in range(s.kh):
        for kx in range(s.kw):
            row = i * s.sy + ky * s.dy - s.top
            column = j * s.sx + kx * s.dx - s.left
            inside = (row >= 0) & (row < s.h) & (column >= 0) & (column < s.w)
            c = each(s.c)
            acc = acc + total(inside * ((x.read((row * s.w + column) * s.c + c, inside) + s.input_offset)
                                        * weights[((ky * s.kw + kx) * s.c + c) * s.f + f]))
    return acc
"""
DEPTHWISE_CONV2D = """
def accumulate(i, j, f):
    acc = bias[f]
    for ky in range(s.kh):
        for kx in range(s.kw):
            row = i * s.sy + ky * s.dy - s.top
            column = j * s.sx + kx * s.dx - s.left
            inside = (row >= 0) & (row < s.h) & (column >= 0) & (column < s.w)
            acc = acc + inside * ((x.read((row * s.w + column) * s.c + f // s.each, inside) + s.input_offset)
                                  * weights[(ky * s.kw + kx) * s.f + f])
    return acc
"""
FINISH = """
def finish(acc, f):
    whole = requantize(acc, multiplier[f], shift[f]) + s.output_offset
    y = clamp(whole, s.act_min, s.act_max)
    return whole, y
"""
MAX_POOL2D = """
def operator(i, j, c):
    most = INT32_MIN
    for ky in range(s.kh):
        for kx in range(s.kw):
            row = i * s.sy + ky - s.top
            column = j * s.sx + kx - s.left
            inside = (row >= 0) & (row < s.h) & (column >= 0) & (column < s.w)
            value = x.read((row * s.w + column) * s.c + c, inside)
            most = where(inside & (value > most), value, most)
    y = clamp(most, s.act_min, s.act_max)
    return most, y
"""
AVG_POOL2D = """
def operator(i, j, c):
    total = 0 * i
    count = 0 * i
    for ky in range(s.kh):
        for kx in range(s.kw):
            row = i * s.sy + ky - s.top
            column = j * s.sx + kx - s.left
            inside = (row >= 0) & (row < s.h) & (column >= 0) & (column < s.w)
            total = total + x.read((row * s.w + column) * s.c + c, inside)
            count = count + inside
    mean = quotient(where(total > 0, total + count // 2, total - count // 2), count)
    y = clamp(mean, s.act_min, s.act_max)
    return mean, y
"""
ADD = """
def finer(centred):
    return centred << p.left_shift

def accumulate(n):
    first = finer(a[n] + p.input1_offset)
    second = finer(b[n] + p.input2_offset)
    acc = (requantize(first, p.input1_multiplier, p.input1_shift)
           + requantize(second, p.input2_multiplier, p.input2_shift))
    return acc

def finish(acc):
    whole = requantize(acc, p.output_multiplier, p.output_shift) + p.output_offset
    y = clamp(whole, p.act_min, p.act_max)
    return whole, y
"""
RESCALE = """
def operator(n):
    whole = requantize(x[n] + p.input_offset, p.multiplier, p.shift) + p.output_offset
    y = clamp(whole, p.act_min, p.act_max)
    return whole, y
"""
LEAKY_RELU = """
def operator(n):
    centred = x[n] + p.input_offset
    scaled = where(centred >= 0, requantize(centred, p.positive_multiplier, p.positive_shift),
                   requantize(centred, p.negative_multiplier, p.negative_shift))
    whole = scaled + p.output_offset
    y = clamp(whole, p.act_min, p.act_max)
    return whole, y
"""
TABLE_8 = """
def operator(n):
    y = entries[x[n] + 128]
    return None, stored(y)
"""
LOOK_UP = """
def look_up(entries, x):
    index = 256 + (x >> 7)
    return entries[index] + (((entries[index + 1] - entries[index]) * (x & 127) + 64) >> 7)
"""
TABLE_16 = LOOK_UP + """
def operator(n):
    y = look_up(entries, x[n])
    return None, stored(y)
"""
UPSAMPLE = """
def operator(n, c):
    i = n // (s.w * s.fx)
    j = n % (s.w * s.fx)
    y = x[(i // s.fy * s.w + j // s.fx) * s.c + c]
    return None, y
"""
CONCAT = """
def operator(n, c):
    y = where(c < s.c1, a.read(n * s.c1 + c, c < s.c1), b.read(n * s.c2 + c - s.c1, c >= s.c1))
    return None, y
"""
LAYER_NORM = ROUNDING_SHIFT + REQUANTIZE_64 + """
def operator(k, c):
    value = x[each(p.positions) * p.channels + c]
    sum_of_values = total(value)
    squares = total(value * value)
    v = p.positions * squares - sum_of_values * sum_of_values + p.epsilon
    half_zeros = (62 - bit_length(v)) >> 1
    r = reciprocal_61(square_root(v << (2 * half_zeros)))
    d = p.positions * x[k * p.channels + c] - sum_of_values
    h = rounding_shift(d * r, 61 - half_zeros - p.fraction_bits)
    acc = h * gamma[k] + beta[k]
    whole = requantize_64(acc, p.multiplier, p.shift) + p.output_offset
    y = clamp(whole, p.act_min, p.act_max)
    return whole, y
"""
SOFTMAX = DOUBLING_HIGH + ROUNDING_SHIFT + """
def saturating_shift(x, exponent):
    return minimum(maximum(x << exponent, INT32_MIN), INT32_MAX)

def exp_on_negative(a):
    quarter = 1 << 24
    fraction = (a & (quarter - 1)) - quarter
    rest = fraction - a
    x = fraction * 32 + (1 << 28)
    x2 = doubling_high(x, x)
    x3 = doubling_high(x2, x)
    x4 = doubling_high(x2, x2)
    tail = rounding_shift(doubling_high(rounding_shift(x4, 2) + x3, 715827883) + x2, 1)
    result = 1895147668 + doubling_high(1895147668, x + tail)
    result = minimum(result, INT32_MAX)
    for bit in range(7):
        result = where(rest & (1 << (24 + bit)), doubling_high(result, factors[bit]), result)
    return where(a == 0, INT32_MAX, result)

def one_over_one_plus(a):
    half = (a + (1 << 31)) >> 1
    x = 1515870810 - doubling_high(half, 1010580540)
    for newton in range(3):
        x = x + saturating_shift(doubling_high(x, (1 << 29) - doubling_high(half, x)), 2)
    return saturating_shift(x, 1)

def operator(n, k):
    row = x[n * p.classes + each(p.classes)]
    most = largest(row)
    near = (row - most) >= p.diff_min
    d = where(near, row - most, 0) << p.left_shift
    total_of_row = total(where(near, rounding_shift(exp_on_negative(doubling_high(d, p.multiplier)), 12), 0))
    headroom = 32 - bit_length(total_of_row)
    reciprocal = one_over_one_plus((total_of_row << headroom) - (1 << 31))
    own = x[n * p.classes + k] - most
    e = exp_on_negative(doubling_high(own << p.left_shift, p.multiplier))
    y = where(own < p.diff_min, -128, clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom) - 128, -128,
                                            127))
    return None, y
"""
SOFTMAX16 = LOOK_UP + """
def exp_16(difference):
    return look_up(exp_table, clamp(requantize(difference, p.multiplier, p.shift) + 32767, -32768, 32767))

def operator(n, k):
    row = x[n * p.classes + each(p.classes)]
    most = largest(row)
    total_of_row = total(exp_16(row - most))
    zeros = 32 - bit_length(total_of_row)
    right = 31 - zeros
    leading = ((total_of_row << (zeros - 1)) + (1 << 13)) >> 14
    r = look_up(reciprocal_table, clamp(leading - 98304, -32768, 32767))
    e = exp_16(x[n * p.classes + k] - most)
    y = clamp((e * r + (1 << (right - 1))) >> right, 0, 32767)
    return None, y
"""
