"""The passes of the fused residual tail in C++, for CPUs; built on the machine that runs them."""
