"""Tuning: which settings of a recipe's tracker score best."""
