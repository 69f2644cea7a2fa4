// The passes of senet.ops.passes.protocol.PairKernels for CPUs: over branch u and shortcut r together, v = s u + r.
//
// Pointers, by name; T is a map's type, Wide<T> that of vectors and sums.
//   maps (N, C, S) in either format: u, r, v, a = relu(k v + t), and their gradients du, dr, dv, da
//   (N, C): s (gates), dz (through the squeeze), neither for a branch without gates, whose gradient is dr
//   (C,): k, t, kb, kc, mu (means of v); out: sums (N, C), or (N, pieces, C)
#include <torch/library.h>

#include <array>
#include <tuple>
#include <vector>

#include "sums.h"
#include "tensors.h"

namespace senet {
namespace {

// Means of u and r, and centred sums of u u, u r and r r, of each piece. Sums are shifted by the means of the piece's first positions.
template <class T>
void moments_of_pieces(const Shape& z, const T* u, const T* r, const std::array<Wide<T>*, 5>& out) {
  for_each_task(z, [&](const Task& task, Index place) {
    Wide<T> shift[2][BLOCK], sums[5][BLOCK];
    Task start = task;
    start.last = std::min(task.last, task.first + (z.nhwc ? TILE : 4 * LANES<T>));
    sum<T, 2>(z, start, shift, [&](Index offset, Index, Index count, Sums<T, 2>& s) {
      s[0] = s[0] + load(u + offset, count);
      s[1] = s[1] + load(r + offset, count);
    });
    for (auto& row : shift) {
      for (Index j = 0; j < task.channels; ++j) row[j] /= static_cast<Wide<T>>(start.last - start.first);
    }
    const Channels<T> u_shift(shift[0], 0, z.nhwc), r_shift(shift[1], 0, z.nhwc);
    sum<T, 5>(z, task, sums, [&](Index offset, Index j, Index count, Sums<T, 5>& s) {
      auto du = load(u + offset, count) - u_shift.load(j, count), dr = load(r + offset, count) - r_shift.load(j, count);
      if (count < LANES<T>) {
        du = Vector<T>::set(Vector<T>(0), du, count);
        dr = Vector<T>::set(Vector<T>(0), dr, count);
      }
      s[0] = s[0] + du;
      s[1] = s[1] + dr;
      s[2] = at::vec::fmadd(du, du, s[2]);
      s[3] = at::vec::fmadd(du, dr, s[3]);
      s[4] = at::vec::fmadd(dr, dr, s[4]);
    });
    const auto size = static_cast<Wide<T>>(task.last - task.first);
    for (Index j = 0; j < task.channels; ++j) {
      const auto du = sums[0][j] / size, dr = sums[1][j] / size;
      out[0][place + j] = shift[0][j] + du;
      out[1][place + j] = shift[1][j] + dr;
      out[2][place + j] = sums[2][j] - du * sums[0][j];
      out[3][place + j] = sums[3][j] - du * sums[1][j];
      out[4][place + j] = sums[4][j] - dr * sums[1][j];
    }
  });
}

// Chan, Golub, LeVeque (1983), for two maps and their product.
template <class T>
void combine_moments(const Shape& z, Index pieces, const std::array<Wide<T>*, 5>& parts, const std::array<Wide<T>*, 5>& out) {
  combine_pieces(z, pieces, [&](Index to, Index from, Index piece) {
    if (piece == 0) {
      for (int m = 0; m < 5; ++m) out[m][to] = parts[m][from];
      return;
    }
    const auto before = static_cast<Wide<T>>(piece * z.s / pieces), all = static_cast<Wide<T>>((piece + 1) * z.s / pieces);
    const auto du = parts[0][from] - out[0][to], dr = parts[1][from] - out[1][to], share = (all - before) / all;
    out[0][to] += du * share;
    out[1][to] += dr * share;
    out[2][to] += parts[2][from] + du * du * share * before;
    out[3][to] += parts[3][from] + du * dr * share * before;
    out[4][to] += parts[4][from] + dr * dr * share * before;
  });
}

template <class T>
void apply_maps(const Shape& z, const T* u, const T* r, const Wide<T>* s, const Wide<T>* k, const Wide<T>* t, T* v, T* a) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    const Channels<T> ss(s, n * z.c + c, z.nhwc), ks(k, c, z.nhwc), ts(t, c, z.nhwc);
    for_each_vector<T>(length, [&](Index i, Index count) {
      const auto sum = at::vec::fmadd(load(u + offset + i, count), ss.load(i, count), load(r + offset + i, count));
      store(v + offset + i, sum, count);
      store(a + offset + i, rectified<T>(at::vec::fmadd(sum, ks.load(i, count), ts.load(i, count))), count);
    });
  });
}

// Sums of g, g (v - mu), g u and, if there is a dv, dv u of each piece.
template <class T, int M>
void reduce_pieces(
    const Shape& z, const T* da, const T* a, const T* v, const Wide<T>* mu, const T* u, const T* dv, const std::array<Wide<T>*, 4>& out) {
  for_each_task(z, [&](const Task& task, Index place) {
    Wide<T> sums[M][BLOCK];
    const Channels<T> mus(mu, task.c, z.nhwc);
    sum<T, M>(z, task, sums, [&](Index offset, Index j, Index count, Sums<T, M>& s) {
      const auto g = gradient(da, a, offset, count), branch = load(u + offset, count);
      s[0] = s[0] + g;
      s[1] = at::vec::fmadd(g, load(v + offset, count) - mus.load(j, count), s[1]);
      s[2] = at::vec::fmadd(g, branch, s[2]);
      if constexpr (M == 4) s[3] = at::vec::fmadd(load(dv + offset, count), branch, s[3]);
    });
    for (int m = 0; m < M; ++m) std::copy_n(sums[m], task.channels, out[m] + place);
  });
}

template <class T>
void spread_maps(
    const Shape& z, const T* da, const T* a, const T* v, const Wide<T>* k, const Wide<T>* kb, const Wide<T>* kc, const T* dv, const Wide<T>* s,
    const Wide<T>* dz, T* dr, T* du) {
  for_each_run(z, [&](Index n, Index c, Index offset, Index length) {
    const Channels<T> ks(k, c, z.nhwc), kbs(kb, c, z.nhwc), kcs(kc, c, z.nhwc), ss(s, n * z.c + c, z.nhwc), dzs(dz, n * z.c + c, z.nhwc);
    for_each_vector<T>(length, [&](Index i, Index count) {
      auto d = at::vec::fmadd(gradient(da, a, offset + i, count), ks.load(i, count), kcs.load(i, count));
      if (kb != nullptr) d = at::vec::fmadd(load(v + offset + i, count), kbs.load(i, count), d);
      if (dv != nullptr) d = d + load(dv + offset + i, count);
      store(dr + offset + i, d, count);
      if (du != nullptr) store(du + offset + i, at::vec::fmadd(d, ss.load(i, count), dzs.load(i, count)), count);
    });
  });
}

// ---- operators -----------------------------------------------------------------------------------------------------------------------

// Rows of sums, (N, C) or, for the pieces, (N, pieces, C), and where they lie.
template <int M>
struct Rows {
  std::array<Tensor, M> tensors;

  Rows(const Tensor& x, at::IntArrayRef sizes) {
    for (auto& tensor : tensors) tensor = new_sums(x, sizes);
  }

  template <class T>
  std::array<T*, M> pointers() const {
    std::array<T*, M> found;
    for (int m = 0; m < M; ++m) found[m] = tensors[m].template mutable_data_ptr<T>();
    return found;
  }
};

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> pair_moments(const Tensor& branch, const Tensor& shortcut) {
  const auto u = alike(branch, branch), r = alike(shortcut, u);
  const auto z = shape_of(u);
  const Index pieces = pieces_of(z);
  const Rows<5> all(u, {z.n, z.c}), parts = pieces == 1 ? all : Rows<5>(u, {z.n, pieces, z.c});
  FOR_TYPES(u, "pair_moments", [&] {
    using A = Wide<scalar_t>;
    moments_of_pieces(z, u.const_data_ptr<scalar_t>(), r.const_data_ptr<scalar_t>(), parts.pointers<A>());
    if (pieces > 1) combine_moments<scalar_t>(z, pieces, parts.pointers<A>(), all.pointers<A>());
  });
  return std::tuple_cat(all.tensors);
}

std::tuple<Tensor, Tensor> apply_pair(const Tensor& branch, const Tensor& shortcut, const Tensor& gates, const Tensor& ks, const Tensor& ts) {
  const auto u = alike(branch, branch), r = alike(shortcut, u);
  const auto z = shape_of(u);
  const auto s = dense(gates, u, z.n * z.c), k = dense(ks, u, z.c), t = dense(ts, u, z.c);
  auto v = new_map(u), a = new_map(u);
  FOR_TYPES(u, "apply_pair", [&] {
    using A = Wide<scalar_t>;
    apply_maps(z, u.const_data_ptr<scalar_t>(), r.const_data_ptr<scalar_t>(), s.const_data_ptr<A>(), k.const_data_ptr<A>(),
               t.const_data_ptr<A>(), v.mutable_data_ptr<scalar_t>(), a.mutable_data_ptr<scalar_t>());
  });
  return {v, a};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> reduce_pair(
    const Tensor& gradients, const Tensor& activated, const Tensor& sums, const Tensor& means, const Tensor& branch, const Optional& of_sums) {
  const auto u = alike(branch, branch), da = alike(gradients, u), a = alike(activated, u), v = alike(sums, u);
  const auto z = shape_of(u);
  const auto dv = alike(of_sums, u);
  const auto mu = dense(means, u, z.c);
  const Index pieces = pieces_of(z);
  const Rows<4> all(u, {z.n, z.c}), parts = pieces == 1 ? all : Rows<4>(u, {z.n, pieces, z.c});
  if (!dv) all.tensors[3].zero_();
  FOR_TYPES(u, "reduce_pair", [&] {
    using A = Wide<scalar_t>;
    const auto to = all.pointers<A>(), from = parts.pointers<A>();
    const auto pass = dv ? reduce_pieces<scalar_t, 4> : reduce_pieces<scalar_t, 3>;
    pass(z, da.const_data_ptr<scalar_t>(), a.const_data_ptr<scalar_t>(), v.const_data_ptr<scalar_t>(), mu.const_data_ptr<A>(),
         u.const_data_ptr<scalar_t>(), pointer<scalar_t>(dv), from);
    for (int m = 0; pieces > 1 && m < (dv ? 4 : 3); ++m) {
      combine_pieces(z, pieces, [&](Index i, Index j, Index piece) { to[m][i] = piece == 0 ? from[m][j] : to[m][i] + from[m][j]; });
    }
  });
  return std::tuple_cat(all.tensors);
}

std::tuple<Tensor, Tensor> spread_pair(
    const Tensor& gradients, const Tensor& activated, const Tensor& sums, const Tensor& ks, const Optional& kbs, const Tensor& kcs,
    const Optional& of_sums, const Optional& gates, const Optional& dzs) {
  const auto v = alike(sums, sums), da = alike(gradients, v), a = alike(activated, v);
  const auto z = shape_of(v);
  const auto dv = alike(of_sums, v), kb = dense(kbs, v, z.c), s = dense(gates, v, z.n * z.c), dz = dense(dzs, v, z.n * z.c);
  const auto k = dense(ks, v, z.c), kc = dense(kcs, v, z.c);
  auto dr = new_map(v), du = s ? new_map(v) : at::empty({0}, v.options());
  FOR_TYPES(v, "spread_pair", [&] {
    using A = Wide<scalar_t>;
    spread_maps(z, da.const_data_ptr<scalar_t>(), a.const_data_ptr<scalar_t>(), v.const_data_ptr<scalar_t>(), k.const_data_ptr<A>(),
                pointer<A>(kb), kc.const_data_ptr<A>(), pointer<scalar_t>(dv), pointer<A>(s), pointer<A>(dz),
                dr.mutable_data_ptr<scalar_t>(), s ? du.mutable_data_ptr<scalar_t>() : nullptr);
  });
  return {dr, du};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(senet_cpp, m) {
  m.def("pair_moments(Tensor u, Tensor r) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("apply_pair(Tensor u, Tensor r, Tensor s, Tensor k, Tensor t) -> (Tensor, Tensor)");
  m.def("reduce_pair(Tensor da, Tensor a, Tensor v, Tensor mu, Tensor u, Tensor? dv) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("spread_pair(Tensor da, Tensor a, Tensor v, Tensor k, Tensor? kb, Tensor kc, Tensor? dv, Tensor? s, Tensor? dz) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(senet_cpp, CPU, m) {
  m.impl("pair_moments", pair_moments);
  m.impl("apply_pair", apply_pair);
  m.impl("reduce_pair", reduce_pair);
  m.impl("spread_pair", spread_pair);
}

}  // namespace senet
