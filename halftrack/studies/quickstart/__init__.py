"""Quickstart: everything once on synthetic video, in fp32 and in half precision, in minutes."""
