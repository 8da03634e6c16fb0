// A row of logits [B, N] -> the code chosen [B], and x [B, K] plus its row of a packed table: what
// the next codebook's position sees. A threadgroup a row, see draw.metal.

threadgroup uint counts[64];
threadgroup float values[32];
threadgroup int places[32];
const Notes notes{counts, values, places};
const Worker me{
    thread_index_in_threadgroup,
    threads_per_threadgroup.x,
    thread_index_in_simdgroup,
    simdgroup_index_in_threadgroup,
    simdgroups_per_threadgroup};
const int b = threadgroup_position_in_grid.y;
const int chosen = choose<T, GREEDY>(
    logits, b, logits_shape[0], logits_shape[1], settings, temperature[0], uint2(key[0], key[1]),
    notes, me);
if (me.thread_ == 0) {
  code[b] = chosen;
}
const int columns = x_shape[1];
const Packed<T, BITS, GROUP> table{words, scales, biases, columns};
for (int column = me.thread_; column < columns; column += me.threads) {
  y[b * columns + column] = T(float(x[b * columns + column]) + table.at(chosen, column));
}
