"""One SELSA R50 test frame with 14 references, once a video is started, against cal_inf.

    python benchmarks/streaming.py [--rounds 10]

The reference implementation takes 13.1 cal_inf for the same frame. The streamed detections are also
held against the computation without any reuse, and kernels and waits a frame are counted alone and
with four frames in a pass.
"""

from __future__ import annotations

import argparse

import torch
from measure import calibration_inference, golden_selsa, golden_video, machine, paired, spread

from halftrack.frames import Detections, Frame
from halftrack.models import SELSA
from halftrack.precision import Launches


@torch.no_grad()
def uncached(model: SELSA, references: list[Frame], key: Frame) -> Detections:
    """All 15 frames through backbone, proposals, rois and aggregation, as if no frame came before.

    Frame by frame, as the memory of 15 feature maps at once is no part of the question.
    """
    frames = [*references, key]
    head = model.bbox_head
    embedded, proposals = [], []
    for frame in frames:
        features = model.features([frame])
        proposals.append(model.propose(features, [frame])[0])
        embedded.append(model.embed(features, proposals[-1:]))
    memory = head.remember(torch.cat(embedded))
    logits, deltas = head.aggregate(embedded[-1], memory)
    return model.detector.roi_head.detect(logits, deltas, proposals[-1], key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    model = golden_selsa().eval()
    frames = golden_video(16, 608, 1008)
    references, (first, key) = frames[:14], frames[14:]
    model.start(references)
    model(first)
    streamed, plain = model(key), uncached(model, references, key)
    assert torch.equal(streamed.labels, plain.labels)
    boxes = (streamed.boxes_xyxy - plain.boxes_xyxy).abs().max()
    scores = (streamed.scores - plain.scores).abs().max()
    print(
        f"{len(streamed)} detections equal the uncached ones within "
        f"{scores:.1e} in scores and {boxes:.1e} px"
    )
    for count in (1, 4):
        with Launches() as launches:
            model(frames[:count])
        kernels, waits = launches.kernels / count, launches.waits / count
        print(f"{count} a pass: {kernels:.0f} kernels and {waits:.3g} waits a frame")
    rows = paired([lambda: model(key), calibration_inference()], rounds=rounds)
    print(f"a streamed frame takes {spread([a / b for a, b in rows])} cal_inf")
    print(machine())


if __name__ == "__main__":
    main()
