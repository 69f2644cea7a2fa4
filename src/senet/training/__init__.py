"""Train, evaluate and predict; the only package that imports lightning_fabric."""
