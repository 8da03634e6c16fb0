// Attention of the depthformer's newest position over all of a frame so far, with everything
// around it: norm and RoPE of its query and key, and the key and value kept for what follows.
//   qkv [B, heads + 2 kv, D], past [B, 2, kv, room, D] (not read at the first position)
//   -> y [B, heads, D], kept: past with the position at[0] filled
// A simdgroup is a query head, a threadgroup the heads that share a key; they need not meet, since
// each makes the new key itself.

typedef Head<D, true> Vector;
const uint lane = thread_index_in_simdgroup;
const int total_heads = qkv_shape[1];
const int kv = total_heads - weights_shape[0];
const int heads = weights_shape[0] - kv;
const int share = heads / kv;
const int room = at[1];
const int group = threadgroup_position_in_grid.x;
const int head = group * share + simdgroup_index_in_threadgroup;
const int b = threadgroup_position_in_grid.y;
const int position = FIRST ? 0 : at[0];
const device T* row = qkv + size_t(b) * total_heads * D;

Vector query, key, value;
query.load(row + head * D, lane);
query.norm_and_turn(weights + head * D, settings[0], float(position), settings[1], lane);
key.load(row + (heads + group) * D, lane);
key.norm_and_turn(weights + (heads + group) * D, settings[0], float(position), settings[1], lane);
value.load(row + (heads + kv + group) * D, lane);

// Softmax over all positions, from the newest: its maximum is known as it goes.
const size_t keys_at = ((size_t(b) * 2) * kv + group) * room * D;
const size_t values_at = ((size_t(b) * 2 + 1) * kv + group) * room * D;
float most = query.dot(key) * settings[2];
float total = 1.0f;
Vector sum = value;
if (!FIRST) {
  for (int p = 0; p < position; p++) {
    Vector old;
    old.load(past + keys_at + p * D, lane);
    const float score = query.dot(old) * settings[2];
    const float higher = metal::max(most, score);
    const float fade = metal::precise::exp(most - higher);
    const float weight = metal::precise::exp(score - higher);
    most = higher;
    total = total * fade + weight;
    old.load(past + values_at + p * D, lane);
    sum.add(fade, old, weight);
  }
}
sum.add(1.0f / total, sum, 0.0f);
sum.store(y + (size_t(b) * heads + head) * D, lane);

if (head % share == 0) {
  for (int p = 0; p < room; p++) {
    Vector old = key;
    Vector other = value;
    if (p != position) {  // beyond it there is nothing yet
      const bool there = !FIRST && p < position;
      old.clear();
      other.clear();
      if (there) {
        old.load(past + keys_at + p * D, lane);
        other.load(past + values_at + p * D, lane);
      }
    }
    old.store(kept + keys_at + p * D, lane);
    other.store(kept + values_at + p * D, lane);
  }
}
