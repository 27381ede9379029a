"""MOTChallenge: frames and crops to train on, sequences to test on."""
