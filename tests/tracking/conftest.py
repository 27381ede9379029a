from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Under --import-mode=importlib a module beside the tests is not found by its bare name.
_spec = importlib.util.spec_from_file_location(
    "tracking_world", Path(__file__).with_name("world.py")
)
assert _spec is not None
assert _spec.loader is not None
sys.modules["tracking_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["tracking_world"])
