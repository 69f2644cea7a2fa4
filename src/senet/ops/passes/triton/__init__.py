"""The passes of a residual tail as Triton kernels, for maps on a CUDA device: `load` says whether they run here."""
