// Maps as sequences of runs along their contiguous axis: pixels of C channels (NHWC) or planes of S positions (NCHW).
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

#include "vectors.h"

namespace senet {

constexpr Index GRAIN = 32768;  // elements that are worth a thread

struct Shape {
  Index n, c, s;
  bool nhwc;
};

// Calls run(n, c, offset, runs, length) for runs of one image that follow each other; c is the first channel of each.
template <class Run>
void for_each_stretch(const Shape& z, const Run& run) {
  const Index length = z.nhwc ? z.c : z.s, inner = z.nhwc ? z.s : z.c;
  at::parallel_for(0, z.n * inner, at::divup(GRAIN, length), [&](Index begin, Index end) {
    while (begin < end) {
      const Index n = begin / inner, c = z.nhwc ? 0 : begin % inner, runs = z.nhwc ? std::min(end, (n + 1) * inner) - begin : 1;
      run(n, c, begin * length, runs, length);
      begin += runs;
    }
  });
}

// Calls run(n, c, offset, length) for each run.
template <class Run>
void for_each_run(const Shape& z, const Run& run) {
  for_each_stretch(z, [&](Index n, Index c, Index offset, Index runs, Index length) {
    for (const Index end = offset + runs * length; offset < end; offset += length) run(n, c, offset, length);
  });
}

// Calls step(offset, j, count) for each vector of some runs, with j its place in the run.
template <class T, class Step>
inline void for_each_vector(Index offset, Index runs, Index length, const Step& step) {
  for (const Index end = offset + runs * length; offset < end; offset += length) {
    for_each_vector<T>(length, [&](Index j, Index count) { step(offset + j, j, count); });
  }
}

// Calls f with each flag as a type, so that loops are compiled for each combination.
template <class F>
void with_types(const F& f) {
  f();
}

template <class F, class... Flags>
void with_types(const F& f, bool flag, Flags... others) {
  if (flag) {
    with_types([&](auto... types) { f(std::true_type(), types...); }, others...);
  } else {
    with_types([&](auto... types) { f(std::false_type(), types...); }, others...);
  }
}

}  // namespace senet
