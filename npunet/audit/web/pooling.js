// Pooling over windows; positions in the padding never win and are never counted.

// The positions [row, column] of the image that an output's window covers, row by row.
export function windowOf(i, j, [H, W], { window, stride, pads }) {
  const covered = [];
  for (let ky = 0; ky < window[0]; ky++) {
    for (let kx = 0; kx < window[1]; kx++) {
      const row = i * stride[0] + ky - pads[0][0];
      const column = j * stride[1] + kx - pads[1][0];
      if (row >= 0 && row < H && column >= 0 && column < W) covered.push([row, column]);
    }
  }
  return covered;
}

// The largest value of each window: the first of equal ones, NaN where there is one. Nothing is rounded.
export function maxPool2d([x], weights, attrs, [OH, OW, C]) {
  const W = x.shape[1];
  const y = new x.data.constructor(OH * OW * C);
  for (let i = 0; i < OH; i++) {
    for (let j = 0; j < OW; j++) {
      const covered = windowOf(i, j, x.shape, attrs);
      const at = (i * OW + j) * C;
      for (let c = 0; c < C; c++) {
        let largest = -Infinity;
        for (const [row, column] of covered) {
          const value = x.data[(row * W + column) * C + c];
          if (value > largest || Number.isNaN(value)) largest = value;
        }
        y[at + c] = largest;
      }
    }
  }
  return y;
}

// The mean of each window: summed row by row in float32, then one division by the number of positions inside.
export function avgPool2d([x], weights, attrs, [OH, OW, C]) {
  const W = x.shape[1];
  const y = new x.data.constructor(OH * OW * C);
  for (let i = 0; i < OH; i++) {
    for (let j = 0; j < OW; j++) {
      const covered = windowOf(i, j, x.shape, attrs);
      for (let c = 0; c < C; c++) {
        let sum = 0;
        for (const [row, column] of covered) sum = Math.fround(sum + x.data[(row * W + column) * C + c]);
        y[(i * OW + j) * C + c] = sum / covered.length;
      }
    }
  }
  return y;
}
