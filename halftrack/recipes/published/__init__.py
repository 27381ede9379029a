"""The recipes' values, every published number in sight."""
