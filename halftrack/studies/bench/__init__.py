"""Speed of a recipe's training and inference on this machine, and the part that takes the time."""
