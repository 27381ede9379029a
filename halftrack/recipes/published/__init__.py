"""The recipes' values, every published number in sight.

Where a recipe says fp32 it means fp32, not TF32: MMTracking's model zoo names PyTorch 1.5, CUDA
10.1 and Tesla V100s, which know no TF32. ``--precision tf32`` computes as newer GPUs can.
"""
