"""Crops of people for re-identification: cut from frames, or files that a list names."""
