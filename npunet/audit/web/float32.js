// fl(x): x rounded to float32, nearest, ties to even.
export const fl = Math.fround;
