"""A tail that gates channels, or nothing, with all its steps as kernels: few launches, and none of torch's small operations between them.

| | launches | kernels |
|---|---|---|
| forward, SE | 4 | `moments` of x and a projected r, `statistics` with the first FC, `gate` with the second, `affine` |
| forward, plain | 3 | without `gate` |
| backward, SE | 5 | `reduce`, `gate_gradient`, `squeeze_gradient`, `norm_gradient`, `affine` or, for a projected r, `spread_both` |
| backward, plain | 3 | `reduce`, `plain_gradient`, the last one |

The mathematics is that of `senet.ops.tail.channel`, with names as there.
"""

import torch
from torch import Tensor

from senet.ops.passes.maps import layout, precision
from senet.ops.passes.terms import Centred, OutputGradient
from senet.ops.passes.triton import gate as gates_code
from senet.ops.passes.triton import gradients, kernels
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import empty_mask, in_one_format, row
from senet.ops.passes.triton.maps import affine, moments_of_spans, sums_of_spans
from senet.ops.passes.triton.statistics import statistics
from senet.ops.passes.triton.vector_grid import MOST_CHANNELS, WIDEST, VectorGrid, vector_grid
from senet.ops.tail.batchnorm import IDENTITY, BatchNorm, Normalization, RunningAverages, Statistics
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.form import tensors_of
from senet.ops.tail.gates import Excitation, Excited
from senet.ops.tail.rows import Gradients, Output, Saved, TailTensors
from senet.ops.tail.shortcut import is_passed_on, projected
