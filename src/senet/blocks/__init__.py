"""The blocks as nn.Modules: parameters, and one call into `senet.ops`."""
