"""Files of a run: its folder, checkpoints, weights, replay bundles, and the log as it is read."""
