/*@ doubling_high */
/* (a * b + 2^30) >> 31: the upper half of twice the product, rounded. */
static int64_t doubling_high(int64_t a, int64_t b)
{
    return (a * b + (INT64_C(1) << 30)) >> 31;
}

/*@ rounding_shift */
/* x / 2^exponent, ties away from zero. */
static int64_t rounding_shift(int64_t x, int exponent)
{
    const int64_t mask = (INT64_C(1) << exponent) - 1;
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));
}

/*@ requantize_D : doubling_high rounding_shift */
/* x * m * 2^(s - 31), profile D (double rounding); |x << s| < 2^31. */
static int64_t requantize(int64_t x, int32_t m, int s)
{
    const int left = s > 0 ? s : 0, right = s > 0 ? 0 : -s;
    return rounding_shift(doubling_high(x * (INT64_C(1) << left), m), right);
}

/*@ requantize_S */
/* x * m * 2^(s - 31), profile S (single rounding); |x << s| < 2^31. */
static int64_t requantize(int64_t x, int32_t m, int s)
{
    const int total = 31 - s;
    return (x * m + (INT64_C(1) << (total - 1))) >> total;
}

/*@ requantize_64 */
/* x * m * 2^(s - 31) for |x| < 2^47, by the multiplier's upper 16 bits; the same under every profile. */
static int64_t requantize_64(int64_t x, int32_t m, int s)
{
    const int total = 15 - s;
    const int32_t reduced = m < 0x7FFF0000 ? (m + 0x8000) >> 16 : 0x7FFF;
    return (x * reduced + (INT64_C(1) << (total - 1))) >> total;
}

/*@ clamp */
static net_value clamp(int64_t x, int low, int high)
{
    return (net_value)(x < low ? low : x > high ? high : x);
}

/*@ conv_shape */
typedef struct {
    int h, w, c;              /* input */
    int oh, ow, f;            /* output */
    int kh, kw, sy, sx;       /* kernel, stride */
    int top, left, dy, dx;    /* pads before, dilation */
    int input_offset, output_offset, act_min, act_max;
} conv_shape;

/*@ conv2d_@BITS@ : conv_shape @REQUANTIZE@ clamp */
/* acc = bias + sum of (x + input_offset) * w over the taps inside the image; weights KH KW C F. */
static void conv2d_@BITS@(const net_value *x, const int8_t *weights, const int@BITS@_t *bias,
                      const int32_t *multiplier, const int32_t *shift, net_value *y, const conv_shape *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int f = 0; f < s->f; f++) {
                int@BITS@_t acc = bias[f];
                for (int ky = 0; ky < s->kh; ky++)
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int row = i * s->sy + ky * s->dy - s->top, column = j * s->sx + kx * s->dx - s->left;
                        if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                            continue;
                        const net_value *from = x + (row * s->w + column) * s->c;
                        const int8_t *with = weights + (ky * s->kw + kx) * s->c * s->f + f;
                        for (int c = 0; c < s->c; c++)
                            acc += (from[c] + s->input_offset) * with[c * s->f];
                    }
                const int n = (i * s->ow + j) * s->f + f;
                const int64_t whole = @REQUANTIZE@(acc, multiplier[f], (int)shift[f]) + s->output_offset;
                NOTE(n, acc, whole);
                y[n] = clamp(whole, s->act_min, s->act_max);
            }
}

/*@ depthwise_conv2d_@BITS@ : conv_shape @REQUANTIZE@ clamp */
/* Output channel f = c * M + m reads channel c; weights KH KW C M. */
static void depthwise_conv2d_@BITS@(const net_value *x, const int8_t *weights, const int@BITS@_t *bias,
                                const int32_t *multiplier, const int32_t *shift, net_value *y, const conv_shape *s)
{
    const int each = s->f / s->c;
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int f = 0; f < s->f; f++) {
                int@BITS@_t acc = bias[f];
                for (int ky = 0; ky < s->kh; ky++)
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int row = i * s->sy + ky * s->dy - s->top, column = j * s->sx + kx * s->dx - s->left;
                        if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                            continue;
                        acc += (x[(row * s->w + column) * s->c + f / each] + s->input_offset)
                             * weights[(ky * s->kw + kx) * s->f + f];
                    }
                const int n = (i * s->ow + j) * s->f + f;
                const int64_t whole = @REQUANTIZE@(acc, multiplier[f], (int)shift[f]) + s->output_offset;
                NOTE(n, acc, whole);
                y[n] = clamp(whole, s->act_min, s->act_max);
            }
}

/*@ pool_shape */
typedef struct {
    int h, w, c, oh, ow, kh, kw, sy, sx, top, left, act_min, act_max;
} pool_shape;

/*@ max_pool2d : pool_shape clamp */
/* The largest value of the taps inside the image. */
static void max_pool2d(const net_value *x, net_value *y, const pool_shape *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int c = 0; c < s->c; c++) {
                int32_t most = INT32_MIN;
                for (int ky = 0; ky < s->kh; ky++)
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int row = i * s->sy + ky - s->top, column = j * s->sx + kx - s->left;
                        if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                            continue;
                        const net_value value = x[(row * s->w + column) * s->c + c];
                        if (value > most)
                            most = value;
                    }
                const int n = (i * s->ow + j) * s->c + c;
                NOTE(n, 0, most);
                y[n] = clamp(most, s->act_min, s->act_max);
            }
}

/*@ avg_pool2d : pool_shape clamp */
/* The mean of the taps inside the image, rounded half away from zero. */
static void avg_pool2d(const net_value *x, net_value *y, const pool_shape *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int c = 0; c < s->c; c++) {
                int32_t total = 0, count = 0;
                for (int ky = 0; ky < s->kh; ky++)
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int row = i * s->sy + ky - s->top, column = j * s->sx + kx - s->left;
                        if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                            continue;
                        total += x[(row * s->w + column) * s->c + c];
                        count++;
                    }
                const int n = (i * s->ow + j) * s->c + c;
                const int32_t mean = (total > 0 ? total + count / 2 : total - count / 2) / count;
                NOTE(n, 0, mean);
                y[n] = clamp(mean, s->act_min, s->act_max);
            }
}

/*@ upsample_nearest2d */
static void upsample_nearest2d(const net_value *x, net_value *y, int h, int w, int c, int fy, int fx)
{
    for (int i = 0; i < h * fy; i++)
        for (int j = 0; j < w * fx; j++)
            memcpy(y + (i * w * fx + j) * c, x + (i / fy * w + j / fx) * c, (size_t)c * sizeof *y);
}

/*@ concat */
/* Channels first ... first + c - 1 of y, which has `channels`. */
static void concat(const net_value *x, net_value *y, int positions, int c, int first, int channels)
{
    for (int n = 0; n < positions; n++)
        memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);
}

/*@ add : requantize clamp */
typedef struct {
    int left_shift, input1_offset, input1_multiplier, input1_shift, input2_offset, input2_multiplier, input2_shift;
    int output_offset, output_multiplier, output_shift, act_min, act_max;
} add_params;

/* acc = the two inputs on a common scale, 2^left_shift finer. */
static void add(const net_value *a, const net_value *b, net_value *y, int size, const add_params *p)
{
    for (int n = 0; n < size; n++) {
        const int64_t first = (int64_t)(a[n] + p->input1_offset) * (INT64_C(1) << p->left_shift);
        const int64_t second = (int64_t)(b[n] + p->input2_offset) * (INT64_C(1) << p->left_shift);
        const int64_t acc = requantize(first, p->input1_multiplier, p->input1_shift)
                          + requantize(second, p->input2_multiplier, p->input2_shift);
        const int64_t whole = requantize(acc, p->output_multiplier, p->output_shift) + p->output_offset;
        NOTE(n, acc, whole);
        y[n] = clamp(whole, p->act_min, p->act_max);
    }
}

/*@ rescale : requantize clamp */
typedef struct {
    int input_offset, output_offset, multiplier, shift, act_min, act_max;
} rescale_params;

static void rescale(const net_value *x, net_value *y, int size, const rescale_params *p)
{
    for (int n = 0; n < size; n++) {
        const int64_t whole = requantize(x[n] + p->input_offset, p->multiplier, p->shift) + p->output_offset;
        NOTE(n, 0, whole);
        y[n] = clamp(whole, p->act_min, p->act_max);
    }
}

/*@ leaky_relu : requantize clamp */
typedef struct {
    int input_offset, output_offset, positive_multiplier, positive_shift, negative_multiplier, negative_shift;
    int act_min, act_max;
} leaky_relu_params;

static void leaky_relu(const net_value *x, net_value *y, int size, const leaky_relu_params *p)
{
    for (int n = 0; n < size; n++) {
        const int centred = x[n] + p->input_offset;
        const int64_t scaled = centred >= 0 ? requantize(centred, p->positive_multiplier, p->positive_shift)
                                            : requantize(centred, p->negative_multiplier, p->negative_shift);
        NOTE(n, 0, scaled + p->output_offset);
        y[n] = clamp(scaled + p->output_offset, p->act_min, p->act_max);
    }
}

/*@ table_8 */
static void table_8(const net_value *x, net_value *y, int size, const int8_t *entries)
{
    for (int n = 0; n < size; n++)
        y[n] = entries[x[n] + 128];
}

/*@ look_up */
/* A straight line between the two of 513 entries around x. */
static int32_t look_up(const int16_t *entries, int32_t x)
{
    const int32_t index = 256 + (x >> 7);
    return entries[index] + (((entries[index + 1] - entries[index]) * (x & 127) + 64) >> 7);
}

/*@ table_16 : look_up */
static void table_16(const net_value *x, net_value *y, int size, const int16_t *entries)
{
    for (int n = 0; n < size; n++)
        y[n] = (net_value)look_up(entries, x[n]);
}

/*@ bit_length */
/* Bits of a positive number. */
static int bit_length(int64_t x)
{
    int bits = 0;
    while (x > 0) {
        x >>= 1;
        bits++;
    }
    return bits;
}

/*@ layer_norm : requantize_64 rounding_shift bit_length clamp */
typedef struct {
    int64_t epsilon;
    int positions, channels, fraction_bits, multiplier, shift, output_offset, act_min, act_max;
} layer_norm_params;

/* floor(sqrt(v)), v < 2^62, a bit at a time. */
static int64_t square_root(int64_t v)
{
    int64_t root = 0;
    for (int bit = 30; bit >= 0; bit--) {
        const int64_t trial = root + (INT64_C(1) << bit);
        if (trial * trial <= v)
            root = trial;
    }
    return root;
}

/* floor(2^61 / by), by >= 2^29, a bit at a time. */
static int64_t reciprocal_61(int64_t by)
{
    int64_t quotient = 0, rest = 1;
    for (int bit = 61; bit > 0; bit--) {
        rest *= 2;
        quotient *= 2;
        if (rest >= by) {
            rest -= by;
            quotient++;
        }
    }
    return quotient;
}

/* Each channel over its n positions: d = n x - S, v = n sum x^2 - S^2 + epsilon, h = d / sqrt(v). */
static void layer_norm(const net_value *x, const int16_t *gamma, const int64_t *beta, net_value *y,
                       const layer_norm_params *p)
{
    for (int c = 0; c < p->channels; c++) {
        int64_t total = 0, squares = 0;
        for (int k = 0; k < p->positions; k++) {
            const int64_t value = x[k * p->channels + c];
            total += value;
            squares += value * value;
        }
        const int64_t v = p->positions * squares - total * total + p->epsilon;
        const int j = (62 - bit_length(v)) >> 1;
        const int64_t r = reciprocal_61(square_root(v * (INT64_C(1) << (2 * j))));
        for (int k = 0; k < p->positions; k++) {
            const int n = k * p->channels + c;
            const int64_t d = (int64_t)p->positions * x[n] - total;
            const int64_t h = rounding_shift(d * r, 61 - j - p->fraction_bits);
            const int64_t acc = h * gamma[k] + beta[k];
            const int64_t whole = requantize_64(acc, p->multiplier, p->shift) + p->output_offset;
            NOTE(n, acc, whole);
            y[n] = clamp(whole, p->act_min, p->act_max);
        }
    }
}

/*@ softmax : doubling_high rounding_shift bit_length clamp */
static int64_t saturating_shift(int64_t x, int exponent)
{
    const int64_t shifted = x * (INT64_C(1) << exponent);
    return shifted < INT32_MIN ? INT32_MIN : shifted > INT32_MAX ? INT32_MAX : shifted;
}

/* exp(a) for a <= 0 in Q5.26, in Q0.31. */
static int64_t exp_on_negative(int64_t a)
{
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    if (a == 0)
        return INT32_MAX;
    const int64_t quarter = 1 << 24, fraction = (a & (quarter - 1)) - quarter, rest = fraction - a;
    const int64_t x = fraction * 32 + (1 << 28), x2 = doubling_high(x, x);
    const int64_t x3 = doubling_high(x2, x), x4 = doubling_high(x2, x2);
    const int64_t tail = rounding_shift(doubling_high(rounding_shift(x4, 2) + x3, 715827883) + x2, 1);
    int64_t result = 1895147668 + doubling_high(1895147668, x + tail);
    if (result > INT32_MAX)
        result = INT32_MAX;
    for (int k = 0; k < 7; k++)
        if (rest & (1 << (24 + k)))
            result = doubling_high(result, factors[k]);
    return result;
}

/* 1 / (1 + a) for 0 <= a < 1, both in Q0.31: three Newton steps. */
static int64_t one_over_one_plus(int64_t a)
{
    const int64_t half = (a + (INT64_C(1) << 31)) >> 1;
    int64_t x = 1515870810 - doubling_high(half, 1010580540);
    for (int k = 0; k < 3; k++)
        x += saturating_shift(doubling_high(x, (1 << 29) - doubling_high(half, x)), 2);
    return saturating_shift(x, 1);
}

static void softmax(const net_value *x, net_value *y, int positions, int classes, int multiplier, int left_shift,
                    int diff_min)
{
    for (int n = 0; n < positions; n++, x += classes, y += classes) {
        int most = x[0];
        for (int k = 1; k < classes; k++)
            most = x[k] > most ? x[k] : most;
        int64_t total = 0;
        for (int k = 0; k < classes; k++)
            if (x[k] - most >= diff_min) {
                const int64_t d = (x[k] - most) * (INT64_C(1) << left_shift);
                total += rounding_shift(exp_on_negative(doubling_high(d, multiplier)), 12);
            }
        const int headroom = 32 - bit_length(total);
        const int64_t reciprocal = one_over_one_plus(total * (INT64_C(1) << headroom) - (INT64_C(1) << 31));
        for (int k = 0; k < classes; k++) {
            if (x[k] - most < diff_min) {
                y[k] = -128;
                continue;
            }
            const int64_t d = (x[k] - most) * (INT64_C(1) << left_shift);
            const int64_t e = exp_on_negative(doubling_high(d, multiplier));
            y[k] = clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom) - 128, -128, 127);
        }
    }
}

/*@ softmax16 : requantize look_up bit_length clamp */
static int32_t exp_16(int difference, const int16_t *exp_table, int multiplier, int shift)
{
    return look_up(exp_table, clamp(requantize(difference, multiplier, shift) + 32767, -32768, 32767));
}

static void softmax16(const net_value *x, net_value *y, int positions, int classes, int multiplier, int shift,
                      const int16_t *exp_table, const int16_t *reciprocal_table)
{
    for (int n = 0; n < positions; n++, x += classes, y += classes) {
        int most = x[0];
        for (int k = 1; k < classes; k++)
            most = x[k] > most ? x[k] : most;
        int64_t total = 0;
        for (int k = 0; k < classes; k++)
            total += exp_16(x[k] - most, exp_table, multiplier, shift);
        const int zeros = 32 - bit_length(total), right = 31 - zeros;
        const int64_t leading = (total * (INT64_C(1) << (zeros - 1)) + (1 << 13)) >> 14;
        const int32_t r = look_up(reciprocal_table, clamp(leading - 98304, -32768, 32767));
        for (int k = 0; k < classes; k++) {
            const int64_t e = exp_16(x[k] - most, exp_table, multiplier, shift);
            y[k] = clamp((e * r + (INT64_C(1) << (right - 1))) >> right, 0, 32767);
        }
    }
}
