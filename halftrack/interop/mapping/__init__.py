"""Keys of MMTracking's configs and the fields of recipes that they set: a table a kind."""
