"""A user's own data, in whichever layout: recognised, looked at, shown and split."""
