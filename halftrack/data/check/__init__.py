"""Everything that is wrong with a user's data, told before an hour of training is lost."""
