"""Models: modules that return losses in training mode and detections in evaluation mode."""

from halftrack.models.matching import MatchingConfig
from halftrack.models.roi_head import RoIHeadConfig
from halftrack.models.rpn import RPNConfig
from halftrack.models.selsa import SELSA, SelsaConfig

__all__ = ["SELSA", "MatchingConfig", "RPNConfig", "RoIHeadConfig", "SelsaConfig"]
