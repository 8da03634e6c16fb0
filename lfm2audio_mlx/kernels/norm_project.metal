// y = W norm(x). A simdgroup takes four rows of W for one x; see packed.metal.

const uint lane = thread_index_in_simdgroup;
const int rows_of_w = words_shape[0];
const int columns = scales_shape[1] * GROUP;
const int batch = threadgroup_position_in_grid.y;
const int first = 4 * (2 * threadgroup_position_in_grid.x + simdgroup_index_in_threadgroup);

int rows[4];
for (int r = 0; r < 4; r++) {
  rows[r] = metal::min(first + r, rows_of_w - 1);
}
float sums[4];
Packed<T, BITS, GROUP> matrix{words, scales, biases, columns};
multiply<T, BITS, GROUP, 4, true>(sums, rows, matrix, x + batch * columns, weight, eps[0], lane);
for (int r = 0; r < 4; r++) {
  if (int(lane) == r && first + r < rows_of_w) {
    y[size_t(batch) * rows_of_w + first + r] = T(sums[r]);
  }
}
