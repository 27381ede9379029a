"""Rehearsal: a recipe's first steps on a CPU, in the arithmetic of a GPU."""
