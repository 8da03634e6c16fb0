// Queries and keys, normed and turned, each head by a simdgroup of its own.
//   qkv [B, T, heads + 2 kv, D], weights [heads + kv, D], offsets [B] -> [B, heads, T, D] each

const uint lane = thread_index_in_simdgroup;
const int head = thread_position_in_grid.x / 32;
const int kv = qkv_shape[2] - weights_shape[0];
const int heads = weights_shape[0] - kv;
const int t = thread_position_in_grid.y;
const int b = thread_position_in_grid.z;
const int T_ = threads_per_grid.y;

Head<D, INTERLEAVED> vector;
vector.load(qkv + ((size_t(b) * T_ + t) * qkv_shape[2] + head) * D, lane);
const float position = float(offsets[b] + t);
vector.norm_and_turn(weights + head * D, settings[0], position, settings[1], lane);
if (head < heads) {
  vector.store(queries + ((size_t(b) * heads + head) * T_ + t) * D, lane);
} else {
  vector.store(keys + ((size_t(b) * kv + head - heads) * T_ + t) * D, lane);
}
