"""Files of other libraries: read here, and written here in their formats."""
