"""Scoring: a recipe's model on the test data of its task, and the evaluation that comes of it.

Recipes import these files when they are asked to score or track, for these import torch.
"""
