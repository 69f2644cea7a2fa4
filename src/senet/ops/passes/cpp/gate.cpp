// The excitation of a map in inference: its means, then both layers, without an operator for each step.
#include <torch/library.h>

#include <tuple>

#include "tensors.h"

namespace senet {
namespace {

// Returns z w^T + b for few rows z: the weights are read once, in the order of memory.
Tensor layer(const Tensor& z, const Tensor& weight, const Optional& bias, bool relu) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) == z.size(1), "expected a weight of ", z.size(1), " columns, got ", weight.sizes());
  const Index rows = z.size(0), in = z.size(1), outputs = weight.size(0);
  const auto w = dense(weight, z, outputs * in), b = bias ? dense(*bias, z, outputs) : Tensor();
  auto y = at::empty({rows, outputs}, z.options());
  AT_DISPATCH_FLOATING_TYPES(z.scalar_type(), "layer", [&] {
    using V = at::vec::Vectorized<scalar_t>;
    const auto *from = z.const_data_ptr<scalar_t>(), *ws = w.const_data_ptr<scalar_t>();
    const auto* bs = bias ? b.const_data_ptr<scalar_t>() : nullptr;
    auto* to = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, outputs, at::divup(GRAIN, rows * in), [&](Index begin, Index end) {
      for (Index o = begin; o < end; ++o) {
        for (Index n = 0; n < rows; ++n) {
          const auto product = at::vec::map2_reduce_all<scalar_t>(
              [](V a, V b) { return a * b; }, [](V a, V b) { return a + b; }, ws + o * in, from + n * in, in);
          const auto v = product + (bs == nullptr ? 0 : bs[o]);
          to[n * outputs + o] = relu && v < 0 ? 0 : v;
        }
      }
    });
  });
  return y;
}

Tensor excite(const Tensor& map, const Tensor& w1, const Optional& b1, const Tensor& w2, const Optional& b2) {
  return layer(layer(std::get<0>(moments(map, false)), w1, b1, true), w2, b2, false);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(senet_cpp, m) {
  m.def("excite(Tensor x, Tensor w1, Tensor? b1, Tensor w2, Tensor? b2) -> Tensor");
}

TORCH_LIBRARY_IMPL(senet_cpp, CPU, m) {
  m.impl("excite", excite);
}

}  // namespace senet
