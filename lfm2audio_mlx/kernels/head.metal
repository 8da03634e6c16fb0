// A vector of D numbers, as one head of attention has it, held by a simdgroup: its lanes share the
// D / 2 pairs that RoPE turns. Pairs are neighbours (INTERLEAVED) or half a vector apart.

template <int D, bool INTERLEAVED>
struct Head {
  static constexpr constant int PAIRS = (D / 2 + 31) / 32;  // of a lane
  float first[PAIRS];
  float second[PAIRS];

  static int place(int pair) {
    return INTERLEAVED ? 2 * pair : pair;
  }

  static constexpr int apart() {
    return INTERLEAVED ? 1 : D / 2;
  }

  template <typename T>
  void load(const device T* from, uint lane) {
    for (int n = 0; n < PAIRS; n++) {
      const int pair = int(lane) + 32 * n;
      const bool there = pair < D / 2;
      first[n] = there ? float(from[place(pair)]) : 0.0f;
      second[n] = there ? float(from[place(pair) + apart()]) : 0.0f;
    }
  }

  template <typename T>
  void store(device T* to, uint lane) const {
    for (int n = 0; n < PAIRS; n++) {
      const int pair = int(lane) + 32 * n;
      if (pair < D / 2) {
        to[place(pair)] = T(first[n]);
        to[place(pair) + apart()] = T(second[n]);
      }
    }
  }

  void clear() {
    for (int n = 0; n < PAIRS; n++) {
      first[n] = second[n] = 0.0f;
    }
  }

  // this * own + other * weight
  void add(float own, const thread Head& other, float weight) {
    for (int n = 0; n < PAIRS; n++) {
      first[n] = first[n] * own + other.first[n] * weight;
      second[n] = second[n] * own + other.second[n] * weight;
    }
  }

  float dot(const thread Head& other) const {
    float sum = 0.0f;
    for (int n = 0; n < PAIRS; n++) {
      sum += first[n] * other.first[n] + second[n] * other.second[n];
    }
    return simd_sum(sum);
  }

  float square() const {
    float sum = 0.0f;
    for (int n = 0; n < PAIRS; n++) {
      sum += first[n] * first[n] + second[n] * second[n];
    }
    return simd_sum(sum);
  }

  // RMS norm (Zhang and Sennrich 2019), then the rotation of RoPE (Su et al. 2021): pair p of a
  // vector at `position` is turned by position * theta^(-2 p / D).
  template <typename T>
  void norm_and_turn(const device T* weight, float eps, float position, float log2_theta, uint lane) {
    const float rate = metal::precise::rsqrt(square() / D + eps);
    Head scale;
    scale.load(weight, lane);
    for (int n = 0; n < PAIRS; n++) {
      const int pair = int(lane) + 32 * n;
      const float speed = metal::precise::exp2(-2.0f * pair / D * log2_theta);
      const float sine = metal::precise::sin(position * speed);
      const float cosine = metal::precise::cos(position * speed);
      const float a = first[n] * rate * scale.first[n];
      const float b = second[n] * rate * scale.second[n];
      first[n] = a * cosine - b * sine;
      second[n] = a * sine + b * cosine;
    }
  }
};
