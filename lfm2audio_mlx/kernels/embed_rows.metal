// Sums of rows of a packed table: ids [B, n] -> y [B, K], y_b = sum_i table[ids_bi + i * stride].
// A thread a column; see packed.metal.

const int count = ids_shape[1];
const int columns = threads_per_grid.x;
const int column = thread_position_in_grid.x;
const int b = thread_position_in_grid.y;
const Packed<T, BITS, GROUP> table{words, scales, biases, columns};
float sum = 0.0f;
for (int i = 0; i < count; i++) {
  sum += table.at(int(ids[b * count + i]) + i * stride[0], column);
}
y[size_t(b) * columns + column] = T(sum);
