// A row of logits [B, N] -> the code chosen [B]; a threadgroup a row, see draw.metal.

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
