"""Gates, squeezes and unit ends without gradients."""
