// Sums over the positions of a map, the same for any number of threads: positions are cut into pieces by the shape alone, one thread sums a
// piece in a fixed order, and the pieces of an image are combined in a fixed order.
#pragma once

#include <array>

#include "maps.h"

namespace senet {

constexpr Index TILE = 8;             // pixels whose channels are summed in registers
constexpr Index BLOCK = 512;          // channels of one task in NHWC: its sums stay in the first cache
constexpr Index PIECE = 65536;        // elements of one task in NHWC, about
constexpr Index PLANE_PIECE = 16384;  // positions of one task in NCHW, at most
constexpr Index PAGE = 4096;          // bytes; tiles that are longer have more streams than a processor foresees

inline Index pieces_of(const Shape& z) {
  const Index size = z.nhwc ? std::max<Index>(PIECE / z.c, 256) : PLANE_PIECE;
  return at::divup(z.s, size);
}

// A term adds what a vector contributes to M sums: term(offset, j, count, sums), with j the place of its first channel in the block.
template <class T, int M>
using Sums = std::array<Vector<T>, M>;

// The maps that a term reads or writes.
template <class T, size_t K>
using Maps = std::array<const T*, K>;

// Asks for what is read a tile later. Into the second cache, for pixels of many channels have the same place in the first.
template <class T, size_t K>
inline void fetch(const Maps<T, K>& maps, Index i) {
  for (const T* map : maps) __builtin_prefetch(map + i, 0, 2);
}

// One task: some positions of some channels of one image.
struct Task {
  Index first, last;   // positions of all images (NHWC), or elements of a plane (NCHW)
  Index c, channels;   // first channel, and how many
};

template <class T, int M, size_t K, class Term>
void sum_pixels(const Shape& z, const Task& task, const Maps<T, K>& maps, Wide<T> (&sums)[M][BLOCK], const Term& term) {
  const bool far = TILE * z.c * sizeof(T) > PAGE;
  for (auto& row : sums) std::fill_n(row, task.channels, Wide<T>(0));
  for (Index tile = task.first; tile < task.last; tile += TILE) {
    const Index end = std::min(tile + TILE, task.last);
    for_each_vector<T>(task.channels, [&](Index j, Index count) {
      Sums<T, M> local;
      local.fill(Vector<T>(0));
      for (Index i = tile; i < end; ++i) {
        if (far) fetch(maps, (i + TILE) * z.c + task.c + j);
        term(i * z.c + task.c + j, j, count, local);
      }
      for (int m = 0; m < M; ++m) (load_wide<T>(sums[m] + j, count) + local[m]).store(sums[m] + j, count);
    });
  }
}

template <class T, int M, class Term>
void sum_plane(const Task& task, Wide<T> (&sums)[M][BLOCK], const Term& term) {
  constexpr Index CHAINS = 4;  // independent additions hide each other's latency
  std::array<Sums<T, M>, CHAINS> local;
  for (auto& chain : local) chain.fill(Vector<T>(0));
  Index i = task.first;
  for (; i + CHAINS * LANES<T> <= task.last; i += CHAINS * LANES<T>) {
    for (Index q = 0; q < CHAINS; ++q) term(i + q * LANES<T>, 0, LANES<T>, local[q]);
  }
  for (; i < task.last; i += LANES<T>) term(i, 0, std::min(LANES<T>, task.last - i), local[0]);
  for (int m = 0; m < M; ++m) {
    Wide<T> lanes[LANES<T>];
    ((local[0][m] + local[1][m]) + (local[2][m] + local[3][m])).store(lanes);
    for (Index width = LANES<T> / 2; width > 0; width /= 2) {
      for (Index lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    }
    sums[m][0] = lanes[0];
  }
}

template <class T, int M, size_t K, class Term>
void sum(const Shape& z, const Task& task, const Maps<T, K>& maps, Wide<T> (&sums)[M][BLOCK], const Term& term) {
  if (z.nhwc) {
    sum_pixels<T, M>(z, task, maps, sums, term);
  } else {
    sum_plane<T, M>(task, sums, term);
  }
}

template <class T, int M, class Term>
void sum(const Shape& z, const Task& task, Wide<T> (&sums)[M][BLOCK], const Term& term) {
  sum<T, M>(z, task, Maps<T, 0>(), sums, term);
}

// Calls run(task, out) for every task; out is the place of its first channel among (N, pieces, C).
template <class Run>
void for_each_task(const Shape& z, const Run& run) {
  const Index pieces = pieces_of(z), blocks = z.nhwc ? at::divup(z.c, BLOCK) : z.c, width = z.nhwc ? BLOCK : 1;
  const Index elements = at::divup(z.s, pieces) * std::min(width, z.c);
  at::parallel_for(0, z.n * pieces * blocks, at::divup(GRAIN, elements), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      // In the order of memory: the channels of a pixel lie together, and so do the positions of a plane.
      const Index n = i / (pieces * blocks), rest = i % (pieces * blocks);
      const Index piece = z.nhwc ? rest / blocks : rest % pieces, c = (z.nhwc ? rest % blocks : rest / pieces) * width;
      const Index start = z.nhwc ? n * z.s : (n * z.c + c) * z.s;
      const Task task{start + piece * z.s / pieces, start + (piece + 1) * z.s / pieces, c, std::min(width, z.c - c)};
      run(task, (n * pieces + piece) * z.c + c);
    }
  });
}

// Combines the pieces of each image, (N, pieces, C), to (N, C).
template <class Combine>
void combine_pieces(const Shape& z, Index pieces, const Combine& combine) {
  at::parallel_for(0, z.n, at::divup(GRAIN, pieces * z.c), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      for (Index piece = 0; piece < pieces; ++piece) {
        for (Index c = 0; c < z.c; ++c) combine(n * z.c + c, (n * pieces + piece) * z.c + c, piece);
      }
    }
  });
}

}  // namespace senet
