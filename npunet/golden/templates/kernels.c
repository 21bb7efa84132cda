/*@ multiply_add_seq */
/* acc + x * w with two roundings. */
static float multiply_add(float x, float w, float acc)
{
    const float product = x * w;
    return acc + product;
}

/*@ multiply_add_seq_fma */
/* acc + x * w with one rounding. fmaf is taken where it is known to round once: an instruction, or glibc's. Newlib's
   rounds twice, to double and to float, also on a Cortex-M4F at -O0. -DNET_OWN_FMA never takes it. */
#if !defined(NET_OWN_FMA) && \
    (defined(__GLIBC__) || defined(__aarch64__) || (defined(__FP_FAST_FMAF) && defined(__OPTIMIZE__)))
static float multiply_add(float x, float w, float acc)
{
    return fmaf(x, w, acc);
}
#else
/* The product is exact in double. The sum is rounded to odd, so that the last rounding meets no tie that was none
   (Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums"). */
static float multiply_add(float x, float w, float acc)
{
    const double product = (double)x * (double)w, addend = (double)acc;
    double sum = product + addend;
    const double other = sum - product;
    const double error = (product - (sum - other)) + (addend - other); /* of the sum, exact (Knuth's TwoSum) */
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((error > 0.0 || error < 0.0) && !(bits & 1u))
        bits = (error > 0.0) == (sum > 0.0) ? bits + 1u : bits - 1u;
    memcpy(&sum, &bits, sizeof bits);
    return (float)sum;
}
#endif

/*@ conv_shape */
/* Input h w c, output oh ow f (f = c * m for a depthwise layer), kernel kh kw, stride, pads before, dilation. */
typedef struct {
    int h, w, c, oh, ow, f, kh, kw, sy, sx, top, left, dy, dx;
} conv_shape;

/*@ conv2d : conv_shape multiply_add */
/* y[i, j, f] = sum over ky, kx, c, in this order, of x[row, column, c] * w[ky, kx, c, f]; taps outside are skipped. */
NET_KERNEL void conv2d(const float *x, const float *w, float *y, const conv_shape *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int f = 0; f < s->f; f++) {
                float acc = 0.0f;
                for (int ky = 0; ky < s->kh; ky++) {
                    const int row = i * s->sy + ky * s->dy - s->top;
                    if (row < 0 || row >= s->h)
                        continue;
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int column = j * s->sx + kx * s->dx - s->left;
                        if (column < 0 || column >= s->w)
                            continue;
                        const float *px = x + (row * s->w + column) * s->c;
                        const float *pw = w + (ky * s->kw + kx) * s->c * s->f + f;
                        for (int c = 0; c < s->c; c++)
                            acc = multiply_add(px[c], pw[c * s->f], acc);
                    }
                }
                *y++ = acc;
            }
}

/*@ depthwise_conv2d : conv_shape multiply_add */
/* y[i, j, c * M + m] = sum over ky, kx, in this order, of x[row, column, c] * w[ky, kx, c, m]. */
NET_KERNEL void depthwise_conv2d(const float *x, const float *w, float *y, const conv_shape *s)
{
    const int per_channel = s->f / s->c;
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int f = 0; f < s->f; f++) {
                float acc = 0.0f;
                for (int ky = 0; ky < s->kh; ky++) {
                    const int row = i * s->sy + ky * s->dy - s->top;
                    if (row < 0 || row >= s->h)
                        continue;
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int column = j * s->sx + kx * s->dx - s->left;
                        if (column < 0 || column >= s->w)
                            continue;
                        const float value = x[(row * s->w + column) * s->c + f / per_channel];
                        acc = multiply_add(value, w[(ky * s->kw + kx) * s->f + f], acc);
                    }
                }
                *y++ = acc;
            }
}

/*@ add_bias */
NET_KERNEL void add_bias(float *y, const float *b, int positions, int channels)
{
    for (int p = 0; p < positions; p++)
        for (int c = 0; c < channels; c++)
            y[p * channels + c] = y[p * channels + c] + b[c];
}

/*@ scale_shift */
/* Batch norm at inference: y = x * scale + shift for every channel, two roundings. */
NET_KERNEL void scale_shift(const float *x, const float *scale, const float *shift, float *y, int positions, int channels)
{
    for (int p = 0; p < positions; p++)
        for (int c = 0; c < channels; c++) {
            const float product = x[p * channels + c] * scale[c];
            y[p * channels + c] = product + shift[c];
        }
}

/*@ max_pool2d */
typedef struct {
    int h, w, c, oh, ow, kh, kw, sy, sx, top, left;
} pool_shape;

/* Largest value of each window; what lies outside never wins, a NaN always does. */
NET_KERNEL void max_pool2d(const float *x, float *y, const pool_shape *s)
{
    for (int i = 0; i < s->oh; i++)
        for (int j = 0; j < s->ow; j++)
            for (int c = 0; c < s->c; c++) {
                float best = -INFINITY;
                for (int ky = 0; ky < s->kh; ky++) {
                    const int row = i * s->sy + ky - s->top;
                    if (row < 0 || row >= s->h)
                        continue;
                    for (int kx = 0; kx < s->kw; kx++) {
                        const int column = j * s->sx + kx - s->left;
                        if (column < 0 || column >= s->w)
                            continue;
                        const float value = x[(row * s->w + column) * s->c + c];
                        if (value > best || value != value)
                            best = value;
                    }
                }
                *y++ = best;
            }
}

/*@ upsample_nearest2d */
/* y[i, j, c] = x[i / fy, j / fx, c] */
NET_KERNEL void upsample_nearest2d(const float *x, float *y, int h, int w, int channels, int fy, int fx)
{
    for (int i = 0; i < h * fy; i++)
        for (int j = 0; j < w * fx; j++)
            for (int c = 0; c < channels; c++)
                *y++ = x[((i / fy) * w + j / fx) * channels + c];
}

/*@ concat */
/* The channels of a, then those of b. */
NET_KERNEL void concat(const float *a, const float *b, float *y, int positions, int from_a, int from_b)
{
    for (int p = 0; p < positions; p++) {
        for (int c = 0; c < from_a; c++)
            *y++ = a[p * from_a + c];
        for (int c = 0; c < from_b; c++)
            *y++ = b[p * from_b + c];
    }
}

/*@ add */
NET_KERNEL void add(const float *a, const float *b, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = a[n] + b[n];
}

/*@ copy */
NET_KERNEL void copy(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = x[n];
}

/*@ relu */
/* max(x, 0): a zero comes out as +0, a NaN stays. */
NET_KERNEL void relu(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = x[n] > 0.0f || x[n] != x[n] ? x[n] : 0.0f;
}

/*@ relu6 */
/* min(max(x, 0), 6): a zero comes out as +0, a NaN stays. */
NET_KERNEL void relu6(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++) {
        const float low = x[n] > 0.0f || x[n] != x[n] ? x[n] : 0.0f;
        y[n] = low > 6.0f ? 6.0f : low;
    }
}

/*@ leaky_relu */
NET_KERNEL void leaky_relu(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = x[n] > 0.0f ? x[n] : @LEAKY_SLOPE@ * x[n];
}

/*@ exponential */
/* The declared exponential of float32; the C library's differs from machine to machine.

       n = rint(x * LOG2E)      r = (x - n * LN2_HI) - n * LN2_LO
       q = C5; q = q * r + C4; ...; q = q * r + C0      p = r + (r * r) * q            expm1(r)
       exp(x) = (1 + p) * 2^n   expm1(x) = p * 2^n + (2^n - 1) for n < 25, exp(x) from there on

   Every operation rounds once: no fused multiply-add anywhere in it. */
static const float LOG2E = @LOG2E@, LN2_HI = @LN2_HI@, LN2_LO = @LN2_LO@;
static const float COEFFICIENTS[@DEGREE@] = {@COEFFICIENTS@}; /* C0 first */
static const float LOWEST = @LOWEST@, HIGHEST = @HIGHEST@;

static float power_of_two(int n)
{
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* y * 2^n in two exact steps, both factors normal. */
static float scaled(float y, int n)
{
    const int half = n >= 0 ? n / 2 : -((1 - n) / 2);
    const float first = y * power_of_two(half);
    return first * power_of_two(n - half);
}

/* expm1(x - n ln 2), and n; x lies between LOWEST and HIGHEST. */
static float reduced(float x, int *n)
{
    const float ratio = x * LOG2E;
    const float rounded = rintf(ratio);
    const float high = rounded * LN2_HI, low = rounded * LN2_LO;
    const float near = x - high;
    const float r = near - low;
    float q = COEFFICIENTS[@DEGREE@ - 1];
    for (int k = @DEGREE@ - 2; k >= 0; k--) {
        const float product = q * r;
        q = product + COEFFICIENTS[k];
    }
    const float square = r * r;
    const float curve = square * q;
    *n = (int)rounded;
    return r + curve;
}

/*@ exp32 : exponential */
static float exp32(float x)
{
    if (!(x >= LOWEST && x <= HIGHEST))
        return x < LOWEST ? 0.0f : x > HIGHEST ? INFINITY : x;
    int n;
    const float p = reduced(x, &n);
    return scaled(1.0f + p, n);
}

/*@ expm1_32 : exponential */
static float expm1_32(float x)
{
    if (!(x >= LOWEST && x <= HIGHEST))
        return x < LOWEST ? -1.0f : x > HIGHEST ? INFINITY : x;
    int n;
    const float p = reduced(x, &n);
    if (n >= 25)
        return scaled(1.0f + p, n);
    const float grown = scaled(p, n);
    const float rest = power_of_two(n) - 1.0f;
    return grown + rest;
}

/*@ elu : expm1_32 */
NET_KERNEL void elu(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = x[n] > 0.0f ? x[n] : expm1_32(x[n]);
}

/*@ selu : expm1_32 */
NET_KERNEL void selu(const float *x, float *y, int size)
{
    for (int n = 0; n < size; n++)
        y[n] = x[n] > 0.0f ? @SELU_SCALE@ * x[n] : @SELU_SCALE_ALPHA@ * expm1_32(x[n]);
}

/*@ layer_norm */
/* Every channel over all positions; both sums in double, row by row, the results rounded once. */
NET_KERNEL void layer_norm(const float *x, const float *gamma, const float *beta, float *y, int positions, int channels,
                       double eps)
{
    for (int c = 0; c < channels; c++) {
        double sum = 0.0, squares = 0.0;
        for (int p = 0; p < positions; p++)
            sum = sum + (double)x[p * channels + c];
        const double mean = sum / positions;
        for (int p = 0; p < positions; p++) {
            const double off = (double)x[p * channels + c] - mean;
            const double square = off * off;
            squares = squares + square;
        }
        const double variance = squares / positions;
        const float middle = (float)mean, inv = (float)(1.0 / sqrt(variance + eps));
        for (int p = 0; p < positions; p++) {
            const float scale = inv * gamma[p];
            const float centred = x[p * channels + c] - middle;
            const float product = centred * scale;
            y[p * channels + c] = product + beta[p];
        }
    }
}

/*@ softmax : exp32 */
/* Over the channels: e = exp32(x - largest), summed from left to right, then divided. */
NET_KERNEL void softmax(const float *x, float *y, int positions, int channels)
{
    for (int p = 0; p < positions; p++, x += channels, y += channels) {
        float largest = x[0], sum = 0.0f;
        for (int c = 1; c < channels; c++)
            if (x[c] > largest || x[c] != x[c])
                largest = x[c];
        for (int c = 0; c < channels; c++) {
            y[c] = exp32(x[c] - largest);
            sum = sum + y[c];
        }
        for (int c = 0; c < channels; c++)
            y[c] = y[c] / sum;
    }
}
