"""MMTracking's Python configs: read as text, never executed, and turned into recipes."""
