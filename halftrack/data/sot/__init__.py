"""LaSOT and its sisters: pairs to train on, targets to test on."""
