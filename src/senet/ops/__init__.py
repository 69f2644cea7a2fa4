"""The mathematics on tensors, without nn.Module: `reference` defines, everything else must agree with it."""
