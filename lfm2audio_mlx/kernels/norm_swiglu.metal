// y = silu(G norm(x)) * U norm(x), with G's rows above U's in one matrix of 2 N rows.
// A simdgroup takes four rows of each for one x; see packed.metal.

const uint lane = thread_index_in_simdgroup;
const int batch = threadgroup_position_in_grid.y;
const int first = 4 * (2 * threadgroup_position_in_grid.x + simdgroup_index_in_threadgroup);

int rows[8];
for (int r = 0; r < 4; r++) {
  rows[r] = metal::min(first + r, N - 1);
  rows[r + 4] = rows[r] + N;
}
float sums[8];
Packed<T, BITS, GROUP> matrix{words, scales, biases, K};
multiply<T, BITS, GROUP, 8, true>(sums, rows, matrix, x + batch * K, weight, eps[0], lane);
for (int r = 0; r < 4; r++) {
  if (int(lane) == r && first + r < N) {
    const float gate = sums[r] / (1.0f + metal::precise::exp(-sums[r]));
    y[size_t(batch) * N + first + r] = T(gate * sums[r + 4]);
  }
}
