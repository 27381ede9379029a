"""Models: modules that return losses in training mode and detections in evaluation mode."""

from halftrack.models.faster_rcnn import FasterRCNN, FasterRCNNConfig
from halftrack.models.matching import MatchingConfig
from halftrack.models.reid import ReID, ReIDConfig
from halftrack.models.roi_head import RoIHeadConfig
from halftrack.models.rpn import RPNConfig
from halftrack.models.selsa import SELSA, SelsaConfig
from halftrack.models.siamrpn import SiamRPN, SiamRPNConfig

__all__ = [
    "SELSA",
    "FasterRCNN",
    "FasterRCNNConfig",
    "MatchingConfig",
    "RPNConfig",
    "ReID",
    "ReIDConfig",
    "RoIHeadConfig",
    "SelsaConfig",
    "SiamRPN",
    "SiamRPNConfig",
]
