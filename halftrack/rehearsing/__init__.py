"""Rehearsal of any PyTorch model in half precision: steps, findings, memory, the page."""
