"""Random numbers of many samples at once: what NumPy's `Generator(Philox(...))` would draw for each, bit by bit.

Philox4x64-10 (Salmon et al. 2011) gives four words of 64 bits for each value of a counter. NumPy counts up before its first block, hands a
word's lower half out before its upper one where 32 bits are asked for, and bounds integers by Lemire's method (2019, with rejection).
"""

import numpy as np

PHILOX_ROUNDS = 10
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
"""What the two words of the key grow by from round to round."""
WORDS_A_BLOCK = 4
"""Words that one value of the counter gives."""
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
LARGEST_BOUND = 2**32 - 1
"""Integers below a larger bound are drawn from 64 bits, in a way that nothing here needs."""


class Streams:
    """Streams of random numbers, one a row; each row goes on from its own place.

    Args:
        key: two words of 64 bits, which all rows share.
        counters: (N, 2), the upper two words of each row's counter; the lower two begin at 0.
    """

    def __init__(self, key: tuple[int, int], counters: np.ndarray) -> None:
        self._key, self._upper = key, np.ascontiguousarray(counters.T, np.uint64)
        self._words = np.empty((0, len(counters)), np.uint64)
        self._used = np.zeros(len(counters), np.int64)
        self._half = np.zeros(len(counters), np.uint64)
        self._has_half = np.zeros(len(counters), bool)

    def __len__(self) -> int:
        return len(self._used)

    def random(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Draw a number in [0, 1) for each row, or for the rows (M,) that are given: as `Generator.random()`."""
        return (self._next(self._all(rows)) >> np.uint64(11)) * (1.0 / 2**53)

    def uniform(self, low: float, high: float, rows: np.ndarray | None = None) -> np.ndarray:
        """Draw a number between low and high for each row, or for the rows that are given: as `Generator.uniform(low, high)`."""
        return low + (high - low) * self.random(rows)

    def integers(self, bound: int | np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Draw an int64 in [0, bound) for each row, or for the rows that are given: as `Generator.integers(bound)`.

        Args:
            bound: from 1 to `LARGEST_BOUND`, one for all or one for each row; where it is 1, nothing is drawn.
            rows: (M,) indices, none twice; None = all.
        """
        rows = self._all(rows)
        bounds = np.broadcast_to(np.asarray(bound, np.uint64), rows.shape)
        if len(rows) and not 1 <= bounds.min() <= bounds.max() <= LARGEST_BOUND:
            raise ValueError(f"bounds must lie between 1 and {LARGEST_BOUND}, got {bounds.min()} to {bounds.max()}")
        drawn = np.zeros(len(rows), np.int64)
        open_ = np.flatnonzero(bounds > 1)
        while len(open_):
            product = self._next_half(rows[open_]) * bounds[open_]
            drawn[open_] = product >> HALF
            rejected = (product & LOW) < (np.uint64(2**32) - bounds[open_]) % bounds[open_]
            open_ = open_[rejected]
        return drawn

    def _all(self, rows: np.ndarray | None) -> np.ndarray:
        return np.arange(len(self)) if rows is None else rows

    def _next_half(self, rows: np.ndarray) -> np.ndarray:
        """Draw 32 bits for each of the rows, as uint64: what is left of a row's last word, else the lower half of its next."""
        kept = self._has_half[rows]
        halves = self._half[rows]
        fresh = rows[~kept]
        words = self._next(fresh)
        halves[~kept] = words & LOW
        self._half[fresh] = words >> HALF
        self._has_half[rows] = ~kept
        return halves

    def _next(self, rows: np.ndarray) -> np.ndarray:
        """Draw the next word of each of the rows."""
        places = self._used[rows]
        while len(places) and places.max() >= len(self._words):
            counter = len(self._words) // WORDS_A_BLOCK + 1
            self._words = np.concatenate([self._words, philox_block(self._key, counter, self._upper)])
        self._used[rows] += 1
        return self._words[places, rows]


def philox_block(key: tuple[int, int], counter: int, upper: np.ndarray) -> np.ndarray:
    """Return the words (4, N) that Philox4x64-10 gives for the counters (counter, 0, upper[0], upper[1]); upper is (2, N)."""
    words = [np.full(upper.shape[1], counter, np.uint64), np.zeros(upper.shape[1], np.uint64), *upper]
    for number in range(PHILOX_ROUNDS):
        first, second = (np.uint64((word + number * step) % 2**64) for word, step in zip(key, WEYL, strict=True))
        (high0, low0), (high1, low1) = (_product(words[place], factor) for place, factor in zip((0, 2), MULTIPLIERS, strict=True))
        words = [high1 ^ words[1] ^ first, low1, high0 ^ words[3] ^ second, low0]
    return np.stack(words)


def _product(words: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper and the lower 64 bits of words times a factor of 64 bits."""
    above, below = np.uint64(factor >> 32), np.uint64(factor % 2**32)
    upper, lower = words >> HALF, words & LOW
    middle = upper * below + (lower * below >> HALF)  # below 2**64, as each of the next two sums is
    other = lower * above + (middle & LOW)
    return upper * above + (middle >> HALF) + (other >> HALF), words * np.uint64(factor)
