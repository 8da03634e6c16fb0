// y = silu(G norm(x)) * U norm(x), with G's rows above U's in one matrix.
// A simdgroup takes four rows of each for one x; see packed.metal.

const uint lane = thread_index_in_simdgroup;
const int rows_of_y = words_shape[0] / 2;
const int columns = scales_shape[1] * GROUP;
const int batch = threadgroup_position_in_grid.y;
const int first = 4 * (2 * threadgroup_position_in_grid.x + simdgroup_index_in_threadgroup);

int rows[8];
for (int r = 0; r < 4; r++) {
  rows[r] = metal::min(first + r, rows_of_y - 1);
  rows[r + 4] = rows[r] + rows_of_y;
}
float sums[8];
Packed<T, BITS, GROUP> matrix{words, scales, biases, columns};
multiply<T, BITS, GROUP, 8, true>(sums, rows, matrix, x + batch * columns, weight, eps[0], lane);
for (int r = 0; r < 4; r++) {
  if (int(lane) == r && first + r < rows_of_y) {
    const float gate = sums[r] / (1.0f + metal::precise::exp(-sums[r]));
    y[size_t(batch) * rows_of_y + first + r] = T(gate * sums[r + 4]);
  }
}
