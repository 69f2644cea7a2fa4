// The passes of senet.ops.passes.protocol.ChannelKernels for CPUs.
//
// A pass is written once, on vectors of a run; what belongs to a channel is then another value in each lane (NHWC) or one value in all of them
// (NCHW).
//
// Pointers, by name; T is a map's type, Wide<T> that of vectors and sums.
//   maps (N, C, S) in either format: x and r (branch, shortcut), y (output, and mask of its ReLU), dy, g (behind the ReLU), dx
//   (N, C): k and t (scale, shift), ka and kc, p and m (means, centred squares); (C,): rk and rt, kb, mu and r_mu (means)
//   (N, pieces, C): part_p, part_m; out: sums (N, C), or (N, pieces, C)
#include <torch/library.h>

#include <array>
#include <tuple>
#include <vector>

#include "sums.h"
#include "tensors.h"

namespace senet {
namespace {

// ---- passes that write a map ---------------------------------------------------------------------------------------------------------

// x may be y; t, r, and rk with rt may be absent.
template <class T>
void apply_map(const Shape& z, const T* x, const Wide<T>* k, const Wide<T>* t, const T* r, const Wide<T>* rk, const Wide<T>* rt, bool relu, T* y) {
  const auto pass = [&](auto nhwc, auto moved, auto added, auto scaled, auto clipped) {
    using Values = ChannelValues<T, nhwc()>;
    for_each_stretch(z, [&](Index n, Index c, Index offset, Index runs, Index length) {
      const Values ks(k, n * z.c + c), ts(t, n * z.c + c), rks(rk, c), rts(rt, c);
      for_each_vector<T>(offset, runs, length, [&](Index i, Index j, Index count) {
        auto v = load(x + i, count) * ks.load(j, count);
        if constexpr (moved()) v = v + ts.load(j, count);
        if constexpr (added() && scaled()) v = at::vec::fmadd(load(r + i, count), rks.load(j, count), v + rts.load(j, count));
        if constexpr (added() && !scaled()) v = v + load(r + i, count);
        if constexpr (clipped()) v = rectified<T>(v);
        store(y + i, v, count);
      });
    });
  };
  with_types(pass, z.nhwc, t != nullptr, r != nullptr, rk != nullptr, relu);
}

template <class T>
void spread_map(const Shape& z, const T* dy, const T* y, const T* x, const Wide<T>* ka, const Wide<T>* kb, const Wide<T>* kc, T* dx) {
  const auto pass = [&](auto nhwc, auto relu, auto sloped) {
    using Values = ChannelValues<T, nhwc()>;
    for_each_stretch(z, [&](Index n, Index c, Index offset, Index runs, Index length) {
      const Values kas(ka, n * z.c + c), kbs(kb, c), kcs(kc, n * z.c + c);
      for_each_vector<T>(offset, runs, length, [&](Index i, Index j, Index count) {
        auto v = at::vec::fmadd(gradient(dy, relu() ? y : nullptr, i, count), kas.load(j, count), kcs.load(j, count));
        if constexpr (sloped()) v = at::vec::fmadd(load(x + i, count), kbs.load(j, count), v);
        store(dx + i, v, count);
      });
    });
  };
  with_types(pass, z.nhwc, y != nullptr, kb != nullptr);
}

// ---- passes that sum -----------------------------------------------------------------------------------------------------------------

// Means and centred squares of each piece. Sums are shifted by the mean of the piece's first positions, so that squares of a large mean never
// cancel.
template <class T>
void moments_of_pieces(const Shape& z, const T* x, Wide<T>* p, Wide<T>* m2) {
  const Maps<T, 1> maps{x};
  for_each_task(z, [&](const Task& task, Index out) {
    Wide<T> shift[1][BLOCK], sums[2][BLOCK];
    Task start = task;
    start.last = std::min(task.last, task.first + (z.nhwc ? TILE : 4 * LANES<T>));
    sum<T, 1>(z, start, maps, shift, [&](Index offset, Index, Index count, Sums<T, 1>& s) { s[0] = s[0] + load(x + offset, count); });
    for (Index j = 0; j < task.channels; ++j) shift[0][j] /= static_cast<Wide<T>>(start.last - start.first);
    const Channels<T> shifts(shift[0], 0, z.nhwc);
    sum<T, 2>(z, task, maps, sums, [&](Index offset, Index j, Index count, Sums<T, 2>& s) {
      auto d = load(x + offset, count) - shifts.load(j, count);
      if (count < LANES<T>) d = Vector<T>::set(Vector<T>(0), d, count);
      s[0] = s[0] + d;
      s[1] = at::vec::fmadd(d, d, s[1]);
    });
    const auto size = static_cast<Wide<T>>(task.last - task.first);
    for (Index j = 0; j < task.channels; ++j) {
      const auto d = sums[0][j] / size;
      p[out + j] = shift[0][j] + d;
      m2[out + j] = sums[1][j] - d * sums[0][j];
    }
  });
}

// Chan, Golub, LeVeque (1983): means and centred squares of a union.
template <class T>
void combine_moments(const Shape& z, Index pieces, const Wide<T>* part_p, const Wide<T>* part_m2, Wide<T>* p, Wide<T>* m2) {
  combine_pieces(z, pieces, [&](Index to, Index from, Index piece) {
    if (piece == 0) {
      p[to] = part_p[from];
      m2[to] = part_m2[from];
      return;
    }
    const auto before = static_cast<Wide<T>>(piece * z.s / pieces), all = static_cast<Wide<T>>((piece + 1) * z.s / pieces);
    const auto d = part_p[from] - p[to], share = (all - before) / all;
    p[to] += d * share;
    m2[to] += part_m2[from] + d * d * share * before;
  });
}

// A, B and, with r, the shortcut's sum of each piece; writes g where there is a place for it.
template <class T, int M>
void reduce_pieces(
    const Shape& z, const T* dy, const T* y, const T* x, const Wide<T>* mu, const T* r, const Wide<T>* r_mu, T* g, const std::array<Wide<T>*, 3>& out) {
  const Maps<T, 5> maps{dy, x, y == nullptr ? x : y, M == 3 ? r : x, g == nullptr ? x : g};
  for_each_task(z, [&](const Task& task, Index place) {
    Wide<T> sums[M][BLOCK];
    const Channels<T> mus(mu, task.c, z.nhwc), r_mus(r_mu, task.c, z.nhwc);
    sum<T, M>(z, task, maps, sums, [&](Index offset, Index j, Index count, Sums<T, M>& s) {
      const auto v = gradient(dy, y, offset, count);
      if (g != nullptr) store(g + offset, v, count);
      s[0] = s[0] + v;
      s[1] = at::vec::fmadd(v, load(x + offset, count) - mus.load(j, count), s[1]);
      if constexpr (M == 3) s[2] = at::vec::fmadd(v, load(r + offset, count) - r_mus.load(j, count), s[2]);
    });
    for (int m = 0; m < M; ++m) std::copy_n(sums[m], task.channels, out[m] + place);
  });
}

// ---- operators -----------------------------------------------------------------------------------------------------------------------

}  // namespace

std::tuple<Tensor, Tensor> moments(const Tensor& map, bool centred) {
  const auto x = alike(map, map);
  const auto z = shape_of(x);
  const Index pieces = pieces_of(z);
  auto p = new_sums(x, {z.n, z.c}), m2 = new_sums(x, {z.n, z.c});
  auto part_p = pieces == 1 ? p : new_sums(x, {z.n, pieces, z.c}), part_m2 = pieces == 1 ? m2 : new_sums(x, {z.n, pieces, z.c});
  FOR_TYPES(x, "moments", [&] {
    using A = Wide<scalar_t>;
    moments_of_pieces(z, x.const_data_ptr<scalar_t>(), part_p.mutable_data_ptr<A>(), part_m2.mutable_data_ptr<A>());
    if (pieces > 1) {
      combine_moments<scalar_t>(
          z, pieces, part_p.const_data_ptr<A>(), part_m2.const_data_ptr<A>(), p.mutable_data_ptr<A>(), m2.mutable_data_ptr<A>());
    }
  });
  if (!centred) m2.zero_();
  return {p, m2};
}

namespace {

Tensor apply(
    const Tensor& map, const Tensor& ks, const Tensor& ts, const Optional& shortcut, const Optional& rks, const Optional& rts, bool relu) {
  const auto x = alike(map, map);
  const auto z = shape_of(x);
  const auto r = alike(shortcut, x), rk = dense(rks, x, z.c), rt = dense(rts, x, z.c);
  TORCH_CHECK(rk.has_value() == rt.has_value() && (r || !rk), "expected a shortcut with both rk and rt, or neither");
  const auto k = dense(ks, x, z.n * z.c), t = dense(ts, x, z.n * z.c);
  auto y = new_map(x);
  FOR_TYPES(x, "apply", [&] {
    using A = Wide<scalar_t>;
    apply_map(z, x.const_data_ptr<scalar_t>(), k.const_data_ptr<A>(), t.const_data_ptr<A>(), pointer<scalar_t>(r), pointer<A>(rk),
              pointer<A>(rt), relu, y.mutable_data_ptr<scalar_t>());
  });
  return y;
}

void rescale_(const Tensor& y, const Tensor& ks, const Optional& shortcut, bool relu) {
  TORCH_CHECK(alike(y, y).is_same(y), "expected a dense map, it is overwritten");
  const auto z = shape_of(y);
  const auto r = alike(shortcut, y);
  const auto k = dense(ks, y, z.n * z.c);
  FOR_TYPES(y, "rescale_", [&] {
    using A = Wide<scalar_t>;
    auto* map = y.mutable_data_ptr<scalar_t>();
    apply_map<scalar_t>(z, map, k.const_data_ptr<A>(), nullptr, pointer<scalar_t>(r), nullptr, nullptr, relu, map);
  });
}

std::tuple<Tensor, Tensor, Optional, Optional> reduce(
    const Tensor& gradients, const Optional& outputs, const Tensor& map, const Tensor& means, const Optional& shortcut, const Optional& r_means, bool keep) {
  const auto x = alike(map, map), dy = alike(gradients, x);
  const auto z = shape_of(x);
  const auto y = alike(outputs, x), r = r_means ? alike(shortcut, x) : Optional(), r_mu = dense(r_means, x, z.c);
  const auto mu = dense(means, x, z.c);
  const Index pieces = pieces_of(z), count = r ? 3 : 2;
  std::vector<Tensor> sums, parts;
  for (Index m = 0; m < count; ++m) {
    sums.push_back(new_sums(x, {z.n, z.c}));
    parts.push_back(pieces == 1 ? sums[m] : new_sums(x, {z.n, pieces, z.c}));
  }
  auto g = keep ? Optional(new_map(x)) : Optional();
  FOR_TYPES(x, "reduce", [&] {
    using A = Wide<scalar_t>;
    std::array<A*, 3> out{};
    for (Index m = 0; m < count; ++m) out[m] = parts[m].mutable_data_ptr<A>();
    const auto pass = r ? reduce_pieces<scalar_t, 3> : reduce_pieces<scalar_t, 2>;
    pass(z, dy.const_data_ptr<scalar_t>(), pointer<scalar_t>(y), x.const_data_ptr<scalar_t>(), mu.const_data_ptr<A>(), pointer<scalar_t>(r),
         pointer<A>(r_mu), g ? g->mutable_data_ptr<scalar_t>() : nullptr, out);
    for (Index m = 0; pieces > 1 && m < count; ++m) {
      auto* to = sums[m].mutable_data_ptr<A>();
      combine_pieces(z, pieces, [&](Index i, Index from, Index piece) { to[i] = piece == 0 ? out[m][from] : to[i] + out[m][from]; });
    }
  });
  return {sums[0], sums[1], r ? Optional(sums[2]) : Optional(), g};
}

Tensor spread(const Tensor& gradients, const Optional& outputs, const Tensor& map, const Tensor& kas, const Optional& kbs, const Tensor& kcs) {
  const auto x = alike(map, map), dy = alike(gradients, x);
  const auto z = shape_of(x);
  const auto y = alike(outputs, x), kb = dense(kbs, x, z.c);
  const auto ka = dense(kas, x, z.n * z.c), kc = dense(kcs, x, z.n * z.c);
  auto dx = new_map(x);
  FOR_TYPES(x, "spread", [&] {
    using A = Wide<scalar_t>;
    spread_map(z, dy.const_data_ptr<scalar_t>(), pointer<scalar_t>(y), x.const_data_ptr<scalar_t>(), ka.const_data_ptr<A>(), pointer<A>(kb),
               kc.const_data_ptr<A>(), dx.mutable_data_ptr<scalar_t>());
  });
  return dx;
}

}  // namespace

TORCH_LIBRARY(senet_cpp, m) {
  m.def("moments(Tensor x, bool centred) -> (Tensor, Tensor)");
  m.def("apply(Tensor x, Tensor k, Tensor t, Tensor? r, Tensor? rk, Tensor? rt, bool relu) -> Tensor");
  m.def("rescale_(Tensor(a!) x, Tensor k, Tensor? r, bool relu) -> ()");
  m.def("reduce(Tensor dy, Tensor? y, Tensor x, Tensor mu, Tensor? r, Tensor? r_mu, bool keep) -> (Tensor, Tensor, Tensor?, Tensor?)");
  m.def("spread(Tensor dy, Tensor? y, Tensor x, Tensor ka, Tensor? kb, Tensor kc) -> Tensor");
}

TORCH_LIBRARY_IMPL(senet_cpp, CPU, m) {
  m.impl("moments", moments);
  m.impl("apply", apply);
  m.impl("rescale_", rescale_);
  m.impl("reduce", reduce);
  m.impl("spread", spread);
}

}  // namespace senet
