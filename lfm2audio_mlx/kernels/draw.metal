// Choosing from a row of logits by one threadgroup: greedy, or the top k with Gumbel noise.

// Order of integers is order of numbers; -0 is 0.
inline uint ordered(float value) {
  const uint bits = as_type<uint>(value == 0.0f ? 0.0f : value);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

inline uint ordered_half(ushort bits) {
  return bits >> 15 ? ushort(~bits) : ushort(bits | 0x8000);
}

inline uint ordered(half value) {
  return ordered_half(as_type<ushort>(value == half(0.0f) ? half(0.0f) : value));
}

inline uint ordered(bfloat16_t value) {
  return ordered_half(as_type<ushort>(value == bfloat16_t(0.0f) ? bfloat16_t(0.0f) : value));
}

// Threefry-2x32 (Salmon et al. 2011), 20 rounds.
inline uint2 threefry(uint2 key, uint2 counter) {
  const int turns[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint keys[3] = {key.x, key.y, key.x ^ key.y ^ 0x1BD11BDAu};
  uint x = counter.x + keys[0];
  uint y = counter.y + keys[1];
#pragma clang loop unroll(full)
  for (uint round = 0; round < 20; round++) {
    const int turn = turns[round % 8];
    x += y;
    y = ((y << turn) | (y >> (32 - turn))) ^ x;
    if (round % 4 == 3) {
      const uint n = round / 4 + 1;
      x += keys[n % 3];
      y += keys[(n + 1) % 3] + n;
    }
  }
  return uint2(x, y);
}

// Number `place` of `count` that MLX draws from a key with mx.random.gumbel.
inline float gumbel(uint2 key, uint place, uint count) {
  const uint pairs = (count + 1) / 2;
  const uint first = place < pairs ? place : place - pairs;
  const uint second = first + pairs < count ? first + pairs : 0;
  const uint2 bits = threefry(key, uint2(first, second));
  const float drawn = float(place < pairs ? bits.x : bits.y) / 4294967296.0f;
  const float below_one = 0.99999994f;
  return -metal::precise::log(-metal::precise::log(metal::min(drawn, below_one)));
}

// What a threadgroup's threads write down for each other.
struct Notes {
  threadgroup uint* counts;  // [2][32]
  threadgroup float* values;  // [32]
  threadgroup int* places;  // [32]
};

struct Worker {
  uint thread_, threads, lane, simdgroup_, simdgroups;
};

// What may be chosen: the logits below `limit`, and `also` unless it is negative.
template <typename T>
struct Offer {
  const device T* logits;
  int limit, also;

  int count() const {
    return limit + (also >= 0);
  }

  int place(int m) const {
    return m < limit ? m : also;
  }
};

// The k-th largest of all that is offered, as `ordered` has it: from the first bit to the last, is
// it set in at least k of them?
template <typename T>
inline uint kth_largest(Offer<T> offer, int k, Notes notes, Worker me) {
  uint found = 0;
  int turn = 0;
  for (int bit = 8 * int(sizeof(T)) - 1; bit >= 0; bit--, turn ^= 1) {
    const uint tried = found | (1u << bit);
    uint seen = 0;
    for (int m = me.thread_; m < offer.count(); m += me.threads) {
      seen += ordered(offer.logits[offer.place(m)]) >= tried;
    }
    seen = simd_sum(seen);
    if (me.lane == 0) {
      notes.counts[32 * turn + me.simdgroup_] = seen;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint all = simd_sum(me.lane < me.simdgroups ? notes.counts[32 * turn + me.lane] : 0u);
    found = all >= uint(k) ? tried : found;
  }
  return found;
}

// The first place of the largest value; all lanes get it, if all values are numbers.
inline void best_of_simdgroup(thread float& value, thread int& place) {
  for (ushort apart = 16; apart > 0; apart /= 2) {
    const float other = simd_shuffle_xor(value, apart);
    const int there = simd_shuffle_xor(place, apart);
    if (other > value || (other == value && there < place)) {
      value = other;
      place = there;
    }
  }
}

// The code that is chosen, for all threads. The noise of what is offered are numbers `noise_from`
// and on of the `noise_count` drawn from `key`.
template <typename T, bool GREEDY>
inline int draw(
    Offer<T> offer,
    int top_k,
    float temperature,
    uint2 key,
    uint noise_from,
    uint noise_count,
    Notes notes,
    Worker me) {
  const int count = offer.count();
  const bool all = GREEDY || top_k <= 0 || top_k >= count;
  uint least = 0;
  if (!all) {
    least = kth_largest(offer, top_k, notes, me);
  }
  float best = -INFINITY;
  int place = count;
  for (int m = me.thread_; m < count; m += me.threads) {
    const T logit = offer.logits[offer.place(m)];
    if (!all && ordered(logit) < least) {
      continue;
    }
    float value = float(logit);
    if (!GREEDY) {
      value = value / temperature + gumbel(key, noise_from + m, noise_count);
    }
    if (value > best || place == count) {
      best = value;
      place = m;
    }
  }
  best_of_simdgroup(best, place);
  if (me.lane == 0) {
    notes.values[me.simdgroup_] = best;
    notes.places[me.simdgroup_] = place;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  best = me.lane < me.simdgroups ? notes.values[me.lane] : -INFINITY;
  place = me.lane < me.simdgroups ? notes.places[me.lane] : count;
  best_of_simdgroup(best, place);
  // Of logits that are no numbers none may be the best, and lanes may differ: what the first has
  // found stands, and never a place outside.
  place = simd_shuffle(place, 0);
  return place < count ? offer.place(place) : 0;
}

// Choice number settings[0] of settings[1] for row b of `rows` rows of n logits; settings[2] to [4]
// are the offer's limit, what it offers also, and k.
template <typename T, bool GREEDY>
inline int choose(
    const device T* logits,
    int b,
    int rows,
    int n,
    const constant int* settings,
    float temperature,
    uint2 key,
    Notes notes,
    Worker me) {
  const Offer<T> offer{logits + size_t(b) * n, settings[2], settings[3]};
  const uint from = (uint(settings[0]) * rows + b) * n;
  const uint count = uint(settings[1]) * rows * n;
  return draw<T, GREEDY>(offer, settings[4], temperature, key, from, count, notes, me);
}
