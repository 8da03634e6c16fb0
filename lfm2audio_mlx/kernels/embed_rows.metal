// Sums of rows of a packed table: ids [B, n] -> y [B, K], y_b = sum_i table[ids_bi + i * STRIDE].
// A thread a column; see packed.metal.

const int column = thread_position_in_grid.x;
const int b = thread_position_in_grid.y;
const Packed<T, BITS, GROUP> table{words, scales, biases, K};
float sum = 0.0f;
for (int i = 0; i < COUNT; i++) {
  sum += table.at(int(ids[b * COUNT + i]) + i * STRIDE, column);
}
y[size_t(b) * K + column] = T(sum);
