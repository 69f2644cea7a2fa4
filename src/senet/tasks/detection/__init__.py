"""Detection: the class and the box of every object of an image."""
