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
const uint from = (uint(place[0]) * threadgroups_per_grid.y + b) * N;
const int chosen = draw<T, LIMIT, ALSO, TOP_K, GREEDY>(
    logits + size_t(b) * N, temperature[0], uint2(key[0], key[1]), from,
    uint(place[1]) * threadgroups_per_grid.y * N, notes, me);
if (me.thread_ == 0) {
  code[b] = chosen;
}
