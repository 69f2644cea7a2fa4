"""The units of a network that a block can recalibrate, form by form."""
