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

// Calls run(n, c, offset, length) for each run; c is its first channel.
template <class Run>
void for_each_run(const Shape& z, const Run& run) {
  const Index length = z.nhwc ? z.c : z.s, inner = z.nhwc ? z.s : z.c;
  at::parallel_for(0, z.n * inner, at::divup(GRAIN, length), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) run(i / inner, z.nhwc ? 0 : i % inner, i * length, length);
  });
}

}  // namespace senet
