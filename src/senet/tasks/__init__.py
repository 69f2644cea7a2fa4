"""What depends on what is predicted: losses, metrics, predictions."""
