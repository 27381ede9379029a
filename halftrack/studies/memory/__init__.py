"""Memory of a training step, known before a GPU is rented."""
