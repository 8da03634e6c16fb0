// The FastConformer's attention: scores by content and by distance, softmax as it goes, nothing of
// the size of queries times keys in memory.
//   qkv [B, length, 3, heads, D], distances [2 length - 1, heads, D] from the farthest future on,
//   content and distance biases [heads, D] -> y [B, length, heads, D]
//   score(i, j) = ((q_i + u) . k_j + (q_i + v) . p[length - 1 - i + j]) / sqrt(D)
// Eight simdgroups take QUERIES queries each. In every round they bring 32 keys, their values and
// the distances in reach to threadgroup memory; then a lane is a key for the scores, and D / 32
// numbers of the result for the sums.

constexpr int SIMDGROUPS = 8;
constexpr int SPAN = SIMDGROUPS * QUERIES;
constexpr int REACH = 32 + SPAN - 1;
constexpr int PAD = 4 / sizeof(T);  // lanes that read one column of 32 rows then meet 32 banks
constexpr int OWN = D / 32;

threadgroup T key_tile[32 * (D + PAD)];
threadgroup T value_tile[32 * D];
threadgroup T near_tile[REACH * (D + PAD)];
threadgroup float by_content[SPAN * D];
threadgroup float by_distance[SPAN * D];

const int length = qkv_shape[1];
const int heads = qkv_shape[3];
const int thread_ = thread_index_in_threadgroup;
const int lane = thread_index_in_simdgroup;
const int own = simdgroup_index_in_threadgroup * QUERIES;  // its first query in the span
const int first = threadgroup_position_in_grid.x * SPAN;
const int head = threadgroup_position_in_grid.y;
const int b = threadgroup_position_in_grid.z;
const int width = heads * D;
const device T* from = qkv + size_t(b) * length * 3 * width + head * D;

for (int n = thread_; n < SPAN * D; n += SIMDGROUPS * 32) {
  const int i = first + n / D;
  const float query = i < length ? float(from[size_t(i) * 3 * width + n % D]) : 0.0f;
  by_content[n] = query + float(content_bias[head * D + n % D]);
  by_distance[n] = query + float(distance_bias[head * D + n % D]);
}

float most[QUERIES];
float total[QUERIES];
float sum[QUERIES][OWN];
for (int n = 0; n < QUERIES; n++) {
  most[n] = -INFINITY;
  total[n] = 0.0f;
  for (int c = 0; c < OWN; c++) {
    sum[n][c] = 0.0f;
  }
}

for (int start = 0; start < length; start += 32) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int n = thread_; n < 32 * D; n += SIMDGROUPS * 32) {
    const int row = n / D;
    const int column = n % D;
    const bool there = start + row < length;
    const size_t at = size_t(start + row) * 3 * width + column;
    key_tile[row * (D + PAD) + column] = there ? from[at + width] : T(0.0f);
    value_tile[n] = there ? from[at + 2 * width] : T(0.0f);
  }
  // Of the last query of the span and the first key, up to the first query and the last key.
  const int lowest = length - 1 - (first + SPAN - 1) + start;
  for (int n = thread_; n < REACH * D; n += SIMDGROUPS * 32) {
    const int row = n / D;
    const int at = lowest + row;
    const bool there = at >= 0 && at < 2 * length - 1;
    near_tile[row * (D + PAD) + n % D] =
        there ? distances[size_t(at) * width + head * D + n % D] : T(0.0f);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  for (int n = 0; n < QUERIES; n++) {
    const int query = (own + n) * D;
    const int key_at = lane * (D + PAD);
    const int near_at = (lane + SPAN - 1 - own - n) * (D + PAD);
    float score = 0.0f;
    for (int d = 0; d < D; d++) {
      score += by_content[query + d] * float(key_tile[key_at + d]);
      score += by_distance[query + d] * float(near_tile[near_at + d]);
    }
    score = start + lane < length ? score * metal::precise::rsqrt(float(D)) : -INFINITY;
    const float higher = metal::max(most[n], simd_max(score));
    const float weight = metal::precise::exp(score - higher);
    const float fade = metal::precise::exp(most[n] - higher);
    most[n] = higher;
    total[n] = total[n] * fade + simd_sum(weight);
    for (int c = 0; c < OWN; c++) {
      sum[n][c] *= fade;
    }
    for (ushort key = 0; key < 32; key++) {
      const float share = simd_shuffle(weight, key);
      for (int c = 0; c < OWN; c++) {
        sum[n][c] += share * float(value_tile[key * D + lane + 32 * c]);
      }
    }
  }
}

for (int n = 0; n < QUERIES; n++) {
  const int i = first + own + n;
  if (i < length) {
    for (int c = 0; c < OWN; c++) {
      const size_t at = (size_t(b) * length + i) * width + head * D + lane + 32 * c;
      y[at] = T(sum[n][c] / total[n]);
    }
  }
}
