"""Text that MOTChallenge and single-object benchmarks share: columns of boxes, seqinfo.ini."""
