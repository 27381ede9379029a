"""Checkpoints of other libraries: training goes on from them, and ours become theirs."""
