// Vectors of a run of a map, in the type in which maps are computed with.
#pragma once

#include <ATen/OpMathType.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <type_traits>

namespace senet {

using Index = int64_t;

template <class T>
using Wide = at::opmath_type<T>;
template <class T>
using Vector = at::vec::Vectorized<Wide<T>>;
template <class T>
constexpr Index LANES = Vector<T>::size();

template <class T>
inline Vector<T> load(const T* from, Index count) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    return count == LANES<T> ? Vector<T>::loadu(from) : Vector<T>::loadu(from, count);
  } else {
    Vector<T> out;
    if (count == LANES<T>) {
      at::vec::load_to_float<T>(from, out);
    } else {
      T padded[LANES<T>] = {};
      std::copy_n(from, count, padded);
      at::vec::load_to_float<T>(padded, out);
    }
    return out;
  }
}

template <class T>
inline void store(T* to, const Vector<T>& v, Index count) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    v.store(to, count);
  } else {
    at::vec::convert_from_float<T>(v, v).store(to, count);
  }
}

// Values that belong to channels, along a run.
template <class T>
struct Channels {
  const Wide<T>* at;
  bool nhwc;
  Channels(const Wide<T>* values, Index first, bool nhwc) : at(values == nullptr ? values : values + first), nhwc(nhwc) {}
  inline Vector<T> load(Index i, Index count) const {
    if (!nhwc) return Vector<T>(*at);
    return count == LANES<T> ? Vector<T>::loadu(at + i) : Vector<T>::loadu(at + i, count);
  }
};

template <class T>
inline Vector<T> rectified(const Vector<T>& v) {  // keeps NaN
  const Vector<T> zero(0);
  return Vector<T>::blendv(v, zero, v <= zero);
}

// The gradient that passes the ReLU.
template <class T>
inline Vector<T> gradient(const T* dy, const T* y, Index i, Index count) {
  const auto g = load(dy + i, count);
  return y == nullptr ? g : Vector<T>::blendv(Vector<T>(0), g, load(y + i, count) > Vector<T>(0));
}

template <class T, class Step>
inline void for_each_vector(Index length, const Step& step) {
  Index i = 0;
  for (; i + LANES<T> <= length; i += LANES<T>) step(i, LANES<T>);
  if (i < length) step(i, length - i);
}

}  // namespace senet
