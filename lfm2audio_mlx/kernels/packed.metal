// Weights of 2, 4, 6 or 8 bits, as mx.quantize packs them: a row is a string of bits, least
// significant first, in words of 32; each group of a row has a scale and a bias.

constexpr constant int RUN = 16;  // weights that a lane reads at once: BITS / 2 words

// Where weight i of a run begins in its word.
inline constexpr int shift_of(int bits, int i) {
  return i * bits % 32;
}

// A weight is never shifted to the right of its word: its input is divided by the power of two
// instead, once for all rows, which is exact.
inline float unshifted(int bits, int i) {
  return 1.0f / float(1u << shift_of(bits, i));
}

template <typename T, int BITS, int GROUP>
struct Packed {
  const device uint32_t* words;
  const device T* scales;
  const device T* biases;
  int columns;

  // Of a run of a row with as many inputs, of which `x` holds x_i * unshifted(i), `total` the sum.
  float dot(int row, int column, const thread float* x, float total) const {
    constexpr uint32_t mask = (1u << BITS) - 1;
    const device uint32_t* at = words + (size_t(row) * columns + column) / RUN * (BITS / 2);
    uint32_t run[BITS / 2];
#pragma clang loop unroll(full)
    for (int i = 0; i < BITS / 2; i++) {
      run[i] = at[i];
    }
    float sum = 0.0f;
#pragma clang loop unroll(full)
    for (int i = 0; i < RUN; i++) {
      const int word = i * BITS / 32;
      const int shift = shift_of(BITS, i);
      sum += x[i] * float(run[word] & (mask << shift));
      if (shift + BITS > 32) {  // the rest of it is in the next word, 32 bits to the left
        sum += x[i] * 4294967296.0f * float(run[word + 1] & (mask >> (32 - shift)));
      }
    }
    const size_t group = (size_t(row) * columns + column) / GROUP;
    return float(scales[group]) * sum + float(biases[group]) * total;
  }

  float at(int row, int column) const {
    const size_t place = size_t(row) * columns + column;
    const size_t bit = place * BITS;
    uint32_t found = words[bit / 32] >> (bit % 32);
    if (bit % 32 + BITS > 32) {
      found |= words[bit / 32 + 1] << (32 - bit % 32);
    }
    const size_t group = place / GROUP;
    return float(scales[group]) * float(found & ((1u << BITS) - 1)) + float(biases[group]);
  }
};

// Products of some rows with x, which may have to be RMS-normed first. The rate of the norm is a
// factor of all sums, so that one pass over x is enough:
//   W (x / rms(x) * weight) = W (x * weight) / rms(x)
// A simdgroup works together; all its lanes get the sums.
template <typename T, int BITS, int GROUP, int ROWS, bool NORMED>
inline void multiply(
    thread float* sums,
    const thread int* rows,
    Packed<T, BITS, GROUP> matrix,
    const device T* x,
    const device T* weight,
    float eps,
    uint lane) {
  float squares = 0.0f;
  for (int r = 0; r < ROWS; r++) {
    sums[r] = 0.0f;
  }
  for (int column = int(lane) * RUN; column < matrix.columns; column += 32 * RUN) {
    float run[RUN];
    float total = 0.0f;
    for (int i = 0; i < RUN; i++) {
      float value = float(x[column + i]);
      if (NORMED) {
        squares += value * value;
        value *= float(weight[column + i]);
      }
      total += value;
      run[i] = value * unshifted(BITS, i);
    }
    for (int r = 0; r < ROWS; r++) {
      sums[r] += matrix.dot(rows[r], column, run, total);
    }
  }
  const float rate = NORMED ? metal::precise::rsqrt(simd_sum(squares) / matrix.columns + eps) : 1.0f;
  for (int r = 0; r < ROWS; r++) {
    sums[r] = simd_sum(sums[r]) * rate;
  }
}
