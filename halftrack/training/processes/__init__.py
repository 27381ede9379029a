"""A step that several processes share: gradients added up, weights and momentum divided."""
