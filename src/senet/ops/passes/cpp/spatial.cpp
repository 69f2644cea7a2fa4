// The passes of spatial recalibration, sSE and scSE: a gate for each position, from all channels there.
//
// A pass takes blocks of positions with all their channels, small enough to stay in a cache: it first sums over the channels, for the gates or
// their gradients, and then goes over the same elements again. In a block, runs are pixels (NHWC) or stretches of planes (NCHW), and one of the
// two sums goes along runs, the other across them.
//
// Pointers, by name; T is a map's type, Wide<T> that of vectors and sums.
//   maps (N, C, S) in either format: x and r (branch, shortcut), y (output, and mask of its ReLU), dy, g (behind the ReLU), dx
//   (C,): k and t (scale, shift), w, rk and rt, mu and r_mu (means), kb, ks, kw; (N, C): s (gates of channels), ka, kc
//   (N, S): ss or gates (of positions), d and dq (gradients of the gates and of their logits); sums (N, pieces, C), or (N, C)
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "sums.h"
#include "tensors.h"

namespace senet {
namespace {

constexpr Index PIXELS = 4096;      // elements of a block in NHWC, about: its maps stay in the first cache
constexpr Index STRETCHES = 65536;  // elements of a block in NCHW, at least where the longest run allows it
constexpr Index STRETCH = 512;      // positions of a run in NCHW for each image: whole planes are read best, but few images must make several tasks
constexpr Index LONGEST = 4096;     // positions of a run in NCHW, at most: what belongs to positions stays in the first cache

// Some positions of one image with all their channels.
struct Block {
  Index positions;     // the first one's place among the positions of all images
  Index runs, length;
  Index base, stride;  // elements before the first run, and from one run to the next
  Index at(Index run, Index i) const { return base + run * stride + i; }
};

template <bool NHWC>
Block block_of(const Shape& z, Index n, Index first, Index last) {
  if (NHWC) return {n * z.s + first, last - first, z.c, (n * z.s + first) * z.c, z.c};
  return {n * z.s + first, z.c, last - first, n * z.c * z.s + first, z.s};
}

// Values that belong to the places along a run, or to runs.
template <class T, bool ALONG>
struct Values {
  const Wide<T>* from;
  inline Vector<T> load(Index run, Index i, Index count) const {
    if constexpr (!ALONG) return Vector<T>(from[run]);
    return load_wide<T>(from + i, count);
  }
};
template <class T, bool NHWC>
using OfChannels = Values<T, NHWC>;
template <class T, bool NHWC>
using OfPositions = Values<T, !NHWC>;

// Positions of one task; NCHW makes a block of it.
Index piece_of(const Shape& z) {
  if (z.nhwc) return std::max<Index>(PIECE / z.c, 256);
  return std::clamp(std::max(STRETCHES / z.c, STRETCH * z.n), STRETCH, LONGEST) / STRETCH * STRETCH;
}

// Calls run(block, piece) for the blocks of each piece of the positions of each image, in a fixed order, all of a piece in one thread; piece is
// its place among those of all images.
template <bool NHWC, class Run>
void for_each_block(const Shape& z, const Run& run) {
  const Index piece = piece_of(z), pieces = at::divup(z.s, piece), size = NHWC ? std::max(PIXELS / z.c, TILE) : piece;
  at::parallel_for(0, z.n * pieces, at::divup(GRAIN, std::min(piece, z.s) * z.c), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index n = i / pieces, stop = std::min((i % pieces + 1) * piece, z.s);
      for (Index first = i % pieces * piece; first < stop; first += size) run(block_of<NHWC>(z, n, first, std::min(first + size, stop)), i);
    }
  });
}

// A term adds what a vector contributes to M sums: term(run, i, count, sums), with i its first place in the run.

// Adds to sums[m][i] what the runs of a block hold at place i; `tile` runs are summed in registers.
template <class T, int M, class Term>
inline void sum_across(const Block& block, Index tile, const std::array<Wide<T>*, M>& sums, const Term& term) {
  for (Index first = 0; first < block.runs; first += tile) {
    const Index last = std::min(first + tile, block.runs);
    for_each_vector<T>(block.length, [&](Index i, Index count) {
      Sums<T, M> local;
      local.fill(Vector<T>(0));
      for (Index run = first; run < last; ++run) term(run, i, count, local);
      for (int m = 0; m < M; ++m) (load_wide<T>(sums[m] + i, count) + local[m]).store(sums[m] + i, count);
    });
  }
}

// Adds to sums[m][run] what each run of a block holds.
template <class T, int M, class Term>
inline void sum_along(const Block& block, const std::array<Wide<T>*, M>& sums, const Term& term) {
  constexpr Index CHAINS = M == 1 ? 4 : 2;  // independent additions hide each other's latency
  for (Index run = 0; run < block.runs; ++run) {
    std::array<Sums<T, M>, CHAINS> local;
    for (auto& chain : local) chain.fill(Vector<T>(0));
    Index i = 0;
    for (; i + CHAINS * LANES<T> <= block.length; i += CHAINS * LANES<T>) {
      for (Index q = 0; q < CHAINS; ++q) term(run, i + q * LANES<T>, LANES<T>, local[q]);
    }
    for (; i < block.length; i += LANES<T>) term(run, i, std::min(LANES<T>, block.length - i), local[0]);
    for (int m = 0; m < M; ++m) {
      auto total = local[0][m];
      for (Index q = 1; q < CHAINS; ++q) total = total + local[q][m];
      sums[m][run] += at::vec::vec_reduce_all<Wide<T>>([](const auto& a, const auto& b) { return a + b; }, total);
    }
  }
}

// Sums over the channels of each position of a block. It is the first to read the block, so it reads nearly as memory lies.
template <class T, bool NHWC, class Term>
inline void sum_channels(const Block& block, Wide<T>* sums, const Term& term) {
  std::fill_n(sums, NHWC ? block.runs : block.length, Wide<T>(0));
  const auto each = [&](Index run, Index i, Index count, Sums<T, 1>& s) { s[0] = term(block.at(run, i), run, i, count, s[0]); };
  if constexpr (NHWC) {
    sum_along<T, 1>(block, {sums}, each);
  } else {
    sum_across<T, 1>(block, 2, {sums}, each);
  }
}

// Adds sums over the positions of a block to those of each channel.
template <class T, bool NHWC, int M, class Term>
inline void sum_positions(const Block& block, const std::array<Wide<T>*, M>& sums, const Term& term) {
  if constexpr (NHWC) {
    sum_across<T, M>(block, TILE, sums, term);
  } else {
    sum_along<T, M>(block, sums, term);
  }
}

// ---- passes --------------------------------------------------------------------------------------------------------------------------

template <class T, bool NHWC>
void apply_map(
    const Shape& z, const T* x, const Wide<T>* k, const Wide<T>* t, const Wide<T>* w, Wide<T> b, const Wide<T>* s, const T* r, const Wide<T>* rk,
    const Wide<T>* rt, bool relu, T* y, Wide<T>* ss) {
  using Channels = OfChannels<T, NHWC>;
  const Channels ks{k}, ts{t}, ws{w}, rks{rk}, rts{rt};
  const Vector<T> zero(0), one(1), bias(b);
  for_each_block<NHWC>(z, [&](const Block& block, Index) {
    Wide<T>* gates = ss + block.positions;
    sum_channels<T, NHWC>(block, gates, [&](Index place, Index run, Index i, Index count, const Vector<T>& sum) {
      return at::vec::fmadd(load(x + place, count), ws.load(run, i, count), sum);
    });
    for_each_vector<T>(NHWC ? block.runs : block.length, [&](Index i, Index count) {
      (one / (one + (zero - load_wide<T>(gates + i, count) - bias).exp())).store(gates + i, count);
    });
    const OfPositions<T, NHWC> of_positions{gates};
    const Channels of_channels{s == nullptr ? s : s + block.positions / z.s * z.c};
    for (Index run = 0; run < block.runs; ++run) {
      for_each_vector<T>(block.length, [&](Index i, Index count) {
        const Index place = block.at(run, i);
        const auto u = at::vec::fmadd(load(x + place, count), ks.load(run, i, count), ts.load(run, i, count));
        const auto gate = of_positions.load(run, i, count);
        auto v = u * (s == nullptr ? gate : gate + of_channels.load(run, i, count));
        if (rk != nullptr) {
          v = at::vec::fmadd(load(r + place, count), rks.load(run, i, count), v + rts.load(run, i, count));
        } else if (r != nullptr) {
          v = v + load(r + place, count);
        }
        store(y + place, relu ? rectified<T>(v) : v, count);
      });
    }
  });
}

// Adds A, B, As, Bs, X and, with r, the shortcut's sum of each piece; writes dq, and g where there is a place for it.
template <class T, bool NHWC, int M>
void reduce_map(
    const Shape& z, const T* dy, const T* y, const T* x, const Wide<T>* mu, const Wide<T>* k, const Wide<T>* t, const Wide<T>* ss, const T* r,
    const Wide<T>* r_mu, Wide<T>* dq, T* g, const std::array<Wide<T>*, 6>& out) {
  const OfChannels<T, NHWC> ks{k}, ts{t}, mus{mu}, r_mus{r_mu};
  const Vector<T> one(1);
  for_each_block<NHWC>(z, [&](const Block& block, Index piece) {
    Wide<T>* d = dq + block.positions;
    sum_channels<T, NHWC>(block, d, [&](Index place, Index run, Index i, Index count, const Vector<T>& sum) {
      const auto v = gradient(dy, y, place, count);
      if (g != nullptr) store(g + place, v, count);
      return at::vec::fmadd(v, at::vec::fmadd(load(x + place, count), ks.load(run, i, count), ts.load(run, i, count)), sum);
    });
    for_each_vector<T>(NHWC ? block.runs : block.length, [&](Index i, Index count) {
      const auto gate = load_wide<T>(ss + block.positions + i, count);
      (load_wide<T>(d + i, count) * gate * (one - gate)).store(d + i, count);
    });
    std::array<Wide<T>*, M> sums;
    for (int m = 0; m < M; ++m) sums[m] = out[m] + piece * z.c;
    const OfPositions<T, NHWC> gates{ss + block.positions}, dqs{d};
    sum_positions<T, NHWC, M>(block, sums, [&](Index run, Index i, Index count, Sums<T, M>& s) {
      const Index place = block.at(run, i);
      const auto v = g == nullptr ? gradient(dy, y, place, count) : load(g + place, count), gated = v * gates.load(run, i, count);
      auto centred = load(x + place, count) - mus.load(run, i, count);
      if (count < LANES<T>) centred = Vector<T>::set(Vector<T>(0), centred, count);
      s[0] = s[0] + v;
      s[1] = at::vec::fmadd(v, centred, s[1]);
      s[2] = s[2] + gated;
      s[3] = at::vec::fmadd(gated, centred, s[3]);
      s[4] = at::vec::fmadd(dqs.load(run, i, count), centred, s[4]);
      if constexpr (M == 6) s[5] = at::vec::fmadd(v, load(r + place, count) - r_mus.load(run, i, count), s[5]);
    });
  });
}

template <class T, bool NHWC>
void spread_map(
    const Shape& z, const T* dy, const T* y, const T* x, const Wide<T>* ka, const Wide<T>* kb, const Wide<T>* kc, const Wide<T>* ks,
    const Wide<T>* kw, const Wide<T>* ss, const Wide<T>* dq, T* dx) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    const Index position = NHWC ? offset / length : n * z.s;
    const OfChannels<T, NHWC> kas{ka + n * z.c + c}, kbs{kb == nullptr ? kb : kb + c}, kcs{kc + n * z.c + c}, kss{ks + c}, kws{kw + c};
    const OfPositions<T, NHWC> gates{ss + position}, dqs{dq + position};
    for_each_vector<T>(length, [&](Index i, Index count) {
      auto v = at::vec::fmadd(kws.load(0, i, count), dqs.load(0, i, count), kcs.load(0, i, count));
      if (kb != nullptr) v = at::vec::fmadd(load(x + offset + i, count), kbs.load(0, i, count), v);
      const auto slope = at::vec::fmadd(kss.load(0, i, count), gates.load(0, i, count), kas.load(0, i, count));
      store(dx + offset + i, at::vec::fmadd(gradient(dy, y, offset + i, count), slope, v), count);
    });
  });
}

// ---- tensors -------------------------------------------------------------------------------------------------------------------------

// Returns a place for a value of each position.
Tensor new_positions(const Tensor& x) {
  return new_sums(x, {x.size(0), 1, x.size(2), x.size(3)});
}

std::tuple<Tensor, Tensor> apply_positions(
    const Tensor& map, const Tensor& ks, const Tensor& ts, const Tensor& ws, const Tensor& bias, const Optional& gates, const Optional& shortcut,
    const Optional& rks, const Optional& rts, bool relu) {
  const auto x = alike(map, map);
  const auto z = shape_of(x);
  const auto r = alike(shortcut, x), rk = dense(rks, x, z.c), rt = dense(rts, x, z.c);
  TORCH_CHECK(rk.has_value() == rt.has_value() && (r || !rk), "expected a shortcut with both rk and rt, or neither");
  const auto k = dense(ks, x, z.c), t = dense(ts, x, z.c), w = dense(ws, x, z.c), b = dense(bias, x, 1);
  const auto s = dense(gates, x, z.n * z.c);
  auto y = new_map(x), ss = new_positions(x);
  FOR_TYPES(x, "apply_positions", [&] {
    using A = Wide<scalar_t>;
    const auto pass = z.nhwc ? apply_map<scalar_t, true> : apply_map<scalar_t, false>;
    pass(z, x.const_data_ptr<scalar_t>(), k.const_data_ptr<A>(), t.const_data_ptr<A>(), w.const_data_ptr<A>(), *b.const_data_ptr<A>(),
         pointer<A>(s), pointer<scalar_t>(r), pointer<A>(rk), pointer<A>(rt), relu, y.mutable_data_ptr<scalar_t>(), ss.mutable_data_ptr<A>());
  });
  return {y, ss};
}

template <class T, bool NHWC>
auto reduction(bool projected) {
  return projected ? reduce_map<T, NHWC, 6> : reduce_map<T, NHWC, 5>;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Optional, Tensor, Optional> reduce_positions(
    const Tensor& gradients, const Optional& outputs, const Tensor& map, const Tensor& means, const Tensor& ks, const Tensor& ts,
    const Tensor& gates, const Optional& shortcut, const Optional& r_means, bool keep) {
  const auto x = alike(map, map), dy = alike(gradients, x);
  const auto z = shape_of(x);
  const auto y = alike(outputs, x), r = r_means ? alike(shortcut, x) : Optional(), r_mu = dense(r_means, x, z.c);
  const auto mu = dense(means, x, z.c), k = dense(ks, x, z.c), t = dense(ts, x, z.c), ss = dense(gates, x, z.n * z.s);
  const Index pieces = at::divup(z.s, piece_of(z)), count = r ? 6 : 5;
  std::vector<Tensor> sums, parts;
  for (Index m = 0; m < count; ++m) {
    sums.push_back(new_sums(x, {z.n, z.c}).zero_());
    parts.push_back(pieces == 1 ? sums[m] : new_sums(x, {z.n, pieces, z.c}).zero_());
  }
  auto dq = new_positions(x);
  auto g = keep ? Optional(new_map(x)) : Optional();
  FOR_TYPES(x, "reduce_positions", [&] {
    using A = Wide<scalar_t>;
    std::array<A*, 6> out{};
    for (Index m = 0; m < count; ++m) out[m] = parts[m].mutable_data_ptr<A>();
    const auto pass = z.nhwc ? reduction<scalar_t, true>(r.has_value()) : reduction<scalar_t, false>(r.has_value());
    pass(z, dy.const_data_ptr<scalar_t>(), pointer<scalar_t>(y), x.const_data_ptr<scalar_t>(), mu.const_data_ptr<A>(), k.const_data_ptr<A>(),
         t.const_data_ptr<A>(), ss.const_data_ptr<A>(), pointer<scalar_t>(r), pointer<A>(r_mu), dq.mutable_data_ptr<A>(),
         g ? g->mutable_data_ptr<scalar_t>() : nullptr, out);
    for (Index m = 0; pieces > 1 && m < count; ++m) {
      auto* to = sums[m].mutable_data_ptr<A>();
      combine_pieces(z, pieces, [&](Index i, Index from, Index) { to[i] += out[m][from]; });
    }
  });
  return {sums[0], sums[1], sums[2], sums[3], sums[4], r ? Optional(sums[5]) : Optional(), dq, g};
}

Tensor spread_positions(
    const Tensor& gradients, const Optional& outputs, const Tensor& map, const Tensor& kas, const Optional& kbs, const Tensor& kcs,
    const Tensor& kss, const Tensor& kws, const Tensor& gates, const Tensor& dqs) {
  const auto x = alike(map, map), dy = alike(gradients, x);
  const auto z = shape_of(x);
  const auto y = alike(outputs, x), kb = dense(kbs, x, z.c);
  const auto ka = dense(kas, x, z.n * z.c), kc = dense(kcs, x, z.n * z.c), ks = dense(kss, x, z.c), kw = dense(kws, x, z.c);
  const auto ss = dense(gates, x, z.n * z.s), dq = dense(dqs, x, z.n * z.s);
  auto dx = new_map(x);
  FOR_TYPES(x, "spread_positions", [&] {
    using A = Wide<scalar_t>;
    const auto pass = z.nhwc ? spread_map<scalar_t, true> : spread_map<scalar_t, false>;
    pass(z, dy.const_data_ptr<scalar_t>(), pointer<scalar_t>(y), x.const_data_ptr<scalar_t>(), ka.const_data_ptr<A>(), pointer<A>(kb),
         kc.const_data_ptr<A>(), ks.const_data_ptr<A>(), kw.const_data_ptr<A>(), ss.const_data_ptr<A>(), dq.const_data_ptr<A>(),
         dx.mutable_data_ptr<scalar_t>());
  });
  return dx;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(senet_cpp, m) {
  m.def(
      "apply_positions(Tensor x, Tensor k, Tensor t, Tensor w, Tensor b, Tensor? s, Tensor? r, Tensor? rk, Tensor? rt, bool relu)"
      " -> (Tensor, Tensor)");
  m.def(
      "reduce_positions(Tensor dy, Tensor? y, Tensor x, Tensor mu, Tensor k, Tensor t, Tensor ss, Tensor? r, Tensor? r_mu, bool keep)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor?, Tensor, Tensor?)");
  m.def(
      "spread_positions(Tensor dy, Tensor? y, Tensor x, Tensor ka, Tensor? kb, Tensor kc, Tensor ks, Tensor kw, Tensor ss, Tensor dq) -> Tensor");
}

TORCH_LIBRARY_IMPL(senet_cpp, CPU, m) {
  m.impl("apply_positions", apply_positions);
  m.impl("reduce_positions", reduce_positions);
  m.impl("spread_positions", spread_positions);
}

}  // namespace senet
