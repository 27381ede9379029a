"""Training logs, MMTracking's and ours: read, summed up, made ready to be drawn."""
