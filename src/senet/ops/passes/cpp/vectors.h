// Vectors of a run of a map, in the type in which maps are computed with.
#pragma once

#include <ATen/OpMathType.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstring>
#include <tuple>
#include <type_traits>

namespace senet {

using Index = int64_t;

template <class T>
using Wide = at::opmath_type<T>;
template <class T>
constexpr bool HALF = !std::is_same_v<T, Wide<T>>;
// As many values as fill a register with T: two registers of the wider type where that is float for a half type.
template <class T>
using Vector = at::vec::VectorizedN<Wide<T>, HALF<T> ? 2 : 1>;
template <class T>
constexpr Index LANES = Vector<T>::size();

// Values beyond `count` are 0. Half a vector, as 16 channels of a half type are, is read and written without a mask: what comes next would wait
// for all that the mask could reach.
template <class T>
inline Vector<T> load(const T* from, Index count) {
  using Stored = at::vec::Vectorized<T>;
  if constexpr (HALF<T>) {
    if (2 * count == LANES<T>) {
      at::vec::Vectorized<Wide<T>> low;
      at::vec::load_to_float<T>(from, low);
      return Vector<T>(low, at::vec::Vectorized<Wide<T>>(0));
    }
    return std::make_from_tuple<Vector<T>>(at::vec::convert_to_float<T>(count == LANES<T> ? Stored::loadu(from) : Stored::loadu(from, count)));
  } else {
    return count == LANES<T> ? Stored::loadu(from) : Stored::loadu(from, count);
  }
}

template <class T>
inline void store(T* to, const Vector<T>& v, Index count) {
  if constexpr (HALF<T>) {
    const auto stored = at::vec::convert_from_float<T>(v[0], v[1]);
    if (count == LANES<T>) {
      stored.store(to);
    } else if (2 * count == LANES<T>) {
      T values[LANES<T>];
      stored.store(values);
      std::memcpy(to, values, sizeof(values) / 2);
    } else {
      stored.store(to, count);
    }
  } else {
    count == LANES<T> ? v.store(to) : v.store(to, count);
  }
}

// Values beyond `count` are 0.
template <class T>
inline Vector<T> load_wide(const Wide<T>* from, Index count) {
  if (count == LANES<T>) return Vector<T>::loadu(from);
  return Vector<T>::set(Vector<T>(0), Vector<T>::loadu(from, count), count);
}

// Values that belong to channels, along a run of pixels (NHWC) or of positions.
template <class T, bool NHWC>
struct ChannelValues {
  const Wide<T>* at;
  ChannelValues(const Wide<T>* values, Index first) : at(values == nullptr ? values : values + first) {}
  inline Vector<T> load(Index j, Index count) const {
    if constexpr (NHWC) return load_wide<T>(at + j, count);
    return Vector<T>(*at);
  }
};

// The same where the layout is asked for at every vector.
template <class T>
struct Channels {
  const Wide<T>* at;
  bool nhwc;
  Channels(const Wide<T>* values, Index first, bool nhwc) : at(values == nullptr ? values : values + first), nhwc(nhwc) {}
  inline Vector<T> load(Index j, Index count) const { return nhwc ? load_wide<T>(at + j, count) : Vector<T>(*at); }
};

template <class T>
inline Vector<T> rectified(const Vector<T>& v) {
  return at::vec::clamp_min(v, Vector<T>(0));  // keeps NaN
}

// The gradient that passes the ReLU, if there is one.
template <class T>
inline Vector<T> gradient(const T* dy, const T* y, Index i, Index count) {
  const auto g = load(dy + i, count);
  return y == nullptr ? g : g & (load(y + i, count) > Vector<T>(0));
}

template <class T, class Step>
inline void for_each_vector(Index length, const Step& step) {
  Index i = 0;
  for (; i + LANES<T> <= length; i += LANES<T>) step(i, LANES<T>);
  if (i < length) step(i, length - i);
}

}  // namespace senet
