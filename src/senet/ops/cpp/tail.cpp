// The four passes of senet.ops.kernels for CPUs.
//
// A pass is written once, on vectors of a run; what belongs to a channel is then another value in each lane (NHWC) or one value in all of them
// (NCHW).
#include <torch/library.h>

#include <array>
#include <tuple>
#include <vector>

#include "sums.h"
#include "tensors.h"

namespace senet {
namespace {

// ---- passes that write a map ---------------------------------------------------------------------------------------------------------

template <class T>
void apply_map(const Shape& z, const T* x, const Wide<T>* k, const Wide<T>* t, const T* r, const Wide<T>* rk, const Wide<T>* rt, bool relu, T* y) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    const Channels<T> ks(k, n * z.c + c, z.nhwc), ts(t, n * z.c + c, z.nhwc), rks(rk, c, z.nhwc), rts(rt, c, z.nhwc);
    for_each_vector<T>(length, [&](Index i, Index count) {
      auto v = at::vec::fmadd(load(x + offset + i, count), ks.load(i, count), ts.load(i, count));
      if (rk != nullptr) {
        v = at::vec::fmadd(load(r + offset + i, count), rks.load(i, count), v + rts.load(i, count));
      } else if (r != nullptr) {
        v = v + load(r + offset + i, count);
      }
      store(y + offset + i, relu ? rectified<T>(v) : v, count);
    });
  });
}

// Scales a run where it lies, adds the shortcut's, rectifies: whole vectors of T, so that half types are converted in pairs.
template <class T, bool NHWC, bool ADD, bool RELU>
inline void rescale_run(T* y, const T* r, const Wide<T>* k, Index length) {
  using Half = at::vec::Vectorized<T>;
  const auto next = [&](const Vector<T>& v, Index i, const Vector<T>& added) {
    const auto sum = at::vec::fmadd(v, NHWC ? Vector<T>::loadu(k + i) : Vector<T>(*k), added);
    return RELU ? at::vec::clamp_min(sum, Vector<T>(0)) : sum;
  };
  const Vector<T> zero(0);
  Index i = 0;
  for (; i + Half::size() <= length; i += Half::size()) {
    if constexpr (std::is_same_v<T, Wide<T>>) {
      next(Half::loadu(y + i), i, ADD ? Half::loadu(r + i) : zero).store(y + i);
    } else {
      const auto [low, high] = at::vec::convert_to_float<T>(Half::loadu(y + i));
      auto r_low = zero, r_high = zero;
      if constexpr (ADD) std::tie(r_low, r_high) = at::vec::convert_to_float<T>(Half::loadu(r + i));
      at::vec::convert_from_float<T>(next(low, i, r_low), next(high, i + LANES<T>, r_high)).store(y + i);
    }
  }
  for (; i < length; ++i) {
    const auto v = Wide<T>(y[i]) * k[NHWC ? i : 0] + (ADD ? Wide<T>(r[i]) : Wide<T>(0));
    y[i] = static_cast<T>(RELU && v <= 0 ? Wide<T>(0) : v);
  }
}

template <class T, bool NHWC, bool ADD, bool RELU>
void rescale_map(const Shape& z, T* y, const T* r, const Wide<T>* k) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    rescale_run<T, NHWC, ADD, RELU>(y + offset, ADD ? r + offset : nullptr, k + n * z.c + c, length);
  });
}

template <class T>
void spread_map(const Shape& z, const T* dy, const T* y, const T* x, const Wide<T>* ka, const Wide<T>* kb, const Wide<T>* kc, T* dx) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    const Channels<T> kas(ka, n * z.c + c, z.nhwc), kbs(kb, c, z.nhwc), kcs(kc, n * z.c + c, z.nhwc);
    for_each_vector<T>(length, [&](Index i, Index count) {
      auto v = at::vec::fmadd(gradient(dy, y, offset + i, count), kas.load(i, count), kcs.load(i, count));
      if (kb != nullptr) v = at::vec::fmadd(load(x + offset + i, count), kbs.load(i, count), v);
      store(dx + offset + i, v, count);
    });
  });
}

// ---- passes that sum -----------------------------------------------------------------------------------------------------------------

// Means and centred squares of each piece. Sums are shifted by the mean of the piece's first positions, so that squares of a large mean never
// cancel.
template <class T>
void moments_of_pieces(const Shape& z, const T* x, Wide<T>* p, Wide<T>* m2) {
  for_each_task(z, [&](const Task& task, Index out) {
    Wide<T> shift[1][BLOCK], sums[2][BLOCK];
    Task start = task;
    start.last = std::min(task.last, task.first + (z.nhwc ? TILE : 4 * LANES<T>));
    sum<T, 1>(z, start, shift, [&](Index offset, Index, Index count, Sums<T, 1>& s) { s[0] = s[0] + load(x + offset, count); });
    for (Index j = 0; j < task.channels; ++j) shift[0][j] /= static_cast<Wide<T>>(start.last - start.first);
    const Channels<T> shifts(shift[0], 0, z.nhwc);
    sum<T, 2>(z, task, sums, [&](Index offset, Index j, Index count, Sums<T, 2>& s) {
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
  for_each_task(z, [&](const Task& task, Index place) {
    Wide<T> sums[M][BLOCK];
    const Channels<T> mus(mu, task.c, z.nhwc), r_mus(r_mu, task.c, z.nhwc);
    sum<T, M>(z, task, sums, [&](Index offset, Index j, Index count, Sums<T, M>& s) {
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

template <class T, bool NHWC>
auto rescaling(bool add, bool relu) {
  return add ? (relu ? rescale_map<T, NHWC, true, true> : rescale_map<T, NHWC, true, false>)
             : (relu ? rescale_map<T, NHWC, false, true> : rescale_map<T, NHWC, false, false>);
}

void rescale_(const Tensor& y, const Tensor& ks, const Optional& shortcut, bool relu) {
  TORCH_CHECK(alike(y, y).is_same(y), "expected a dense map, it is overwritten");
  const auto z = shape_of(y);
  const auto r = alike(shortcut, y);
  const auto k = dense(ks, y, z.n * z.c);
  FOR_TYPES(y, "rescale_", [&] {
    const auto run = z.nhwc ? rescaling<scalar_t, true>(r.has_value(), relu) : rescaling<scalar_t, false>(r.has_value(), relu);
    run(z, y.mutable_data_ptr<scalar_t>(), pointer<scalar_t>(r), k.const_data_ptr<Wide<scalar_t>>());
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
