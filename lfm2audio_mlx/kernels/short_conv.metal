// LFM2's gated short convolution over many positions: y = C * conv(B * x), three taps, causal.
//   gated [rows, LENGTH, 3 D]: B, C and x side by side; taps [rows, 1, D]: B * x at -2 and -1;
//   weight [3, D] -> y [rows, LENGTH, D], and B * x at the last two of the first `lengths` positions
// A thread makes one channel of one position.

const int d = thread_position_in_grid.x;
const int D = weight_shape[1];
const int t = thread_position_in_grid.y;
const int b = thread_position_in_grid.z;
const int length = threads_per_grid.y;
const device T* row = gated + size_t(b) * length * 3 * D;
const float before[2] = {float(older[b * D + d]), float(newer[b * D + d])};

float sum = 0.0f;
for (int k = 0; k < 3; k++) {
  const int at = t - 2 + k;
  const device T* from = row + size_t(metal::max(at, 0)) * 3 * D + d;
  const float seen = at < 0 ? before[at + 2] : float(T(float(from[0]) * float(from[2 * D])));
  sum += seen * float(weight[k * D + d]);
}
y[(size_t(b) * length + t) * D + d] = T(float(row[size_t(t) * 3 * D + D + d]) * sum);

if (t < 2) {
  const int at = lengths[0] - 2 + t;
  const device T* from = row + size_t(metal::max(at, 0)) * 3 * D + d;
  const T seen = at < 0 ? T(before[at + 2]) : T(float(from[0]) * float(from[2 * D]));
  if (t == 0) {
    next_older[b * D + d] = seen;
  } else {
    next_newer[b * D + d] = seen;
  }
}
