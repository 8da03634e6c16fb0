// The middle of a Conformer's convolution module: y = silu(conv(a * sigmoid(g)) + bias).
//   x [B, LENGTH, 2 D]: a and g side by side; weight [taps, D], bias [D] -> y [B, LENGTH, D]
// The convolution is centred, with zeros beyond the ends. A thread makes one channel of one position.

const int d = thread_position_in_grid.x;
const int D = weight_shape[1];
const int taps = weight_shape[0];
const int t = thread_position_in_grid.y;
const int b = thread_position_in_grid.z;
const int length = threads_per_grid.y;

float sum = float(bias[d]);
for (int k = 0; k < taps; k++) {
  const int at = t + k - taps / 2;
  if (at >= 0 && at < length) {
    const device T* from = x + (size_t(b) * length + at) * 2 * D + d;
    const float gate = 1.0f / (1.0f + metal::precise::exp(-float(from[D])));
    sum += float(from[0]) * gate * float(weight[k * D + d]);
  }
}
y[(size_t(b) * length + t) * D + d] = T(sum / (1.0f + metal::precise::exp(-sum)));
