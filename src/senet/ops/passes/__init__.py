"""What a residual tail reads and writes, pass by pass, as every backend has it."""
