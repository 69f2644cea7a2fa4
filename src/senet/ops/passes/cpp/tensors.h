// Tensors as the passes take and return them.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>

#include "maps.h"

namespace senet {

using at::Tensor;
using Optional = std::optional<Tensor>;

inline Shape shape_of(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.numel() > 0, "expected a map (N, C, H, W) that is not empty, got ", x.sizes());
  const Index positions = x.size(2) * x.size(3);
  const bool nhwc = x.is_contiguous(at::MemoryFormat::ChannelsLast) && (positions == 1 || !x.is_contiguous());
  return {x.size(0), x.size(1), positions, nhwc};
}

// Returns a map as x is: its shape, type and layout.
inline Tensor alike(const Tensor& v, const Tensor& x) {
  TORCH_CHECK(v.sizes() == x.sizes() && v.scalar_type() == x.scalar_type(), "expected maps of one shape and type");
  return v.contiguous(shape_of(x).nhwc ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

inline Optional alike(const Optional& v, const Tensor& x) {
  return v ? Optional(alike(*v, x)) : v;
}

// Returns values of channels as the passes read them: dense, in the type of the sums.
inline Tensor dense(const Tensor& v, const Tensor& x, Index count) {
  TORCH_CHECK(v.numel() == count, "expected ", count, " values, got ", v.sizes());
  return v.to(at::toOpMathType(x.scalar_type())).contiguous();
}

inline Optional dense(const Optional& v, const Tensor& x, Index count) {
  return v ? Optional(dense(*v, x, count)) : v;
}

inline Tensor new_map(const Tensor& x) {
  return at::empty(x.sizes(), x.options().memory_format(shape_of(x).nhwc ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous));
}

inline Tensor new_sums(const Tensor& x, at::IntArrayRef sizes) {
  return at::empty(sizes, x.options().dtype(at::toOpMathType(x.scalar_type())));
}

template <class T>
const T* pointer(const Optional& v) {
  return v ? v->const_data_ptr<T>() : nullptr;
}

#define FOR_TYPES(x, name, ...) \
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, (x).scalar_type(), name, __VA_ARGS__)

// Means and centred squares over the positions of a map, (N, C) each; see tail.cpp.
std::tuple<Tensor, Tensor> moments(const Tensor& map, bool centred);

}  // namespace senet
