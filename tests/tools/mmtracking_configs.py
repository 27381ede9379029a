"""Configs in MMTracking's language, equivalent to its 34 of the three methods.

Written for these tests from docs/ and the published options: other files, other names, the values
that the published runs had.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

__all__ = ["NAMES", "edited", "texts", "write_configs"]

_STAGES = """
norm = dict(type='BN', requires_grad=True)
deltas = 'DeltaXYWHBBoxCoder'
nothing = [0.0] * 4


first = dict(
    type='RPNHead', in_channels=${C}, feat_channels=${C},
    anchor_generator=dict(type='AnchorGenerator', scales=${SCALES}, ratios=[1 / 2, 1, 2],
                          strides=${STRIDES}),
    bbox_coder=dict(type=deltas, target_means=nothing, target_stds=[1.0] * 4),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0))
box_head = dict(
    type='Shared2FCBBoxHead', in_channels=${C}, fc_out_channels=1024, roi_feat_size=7,
    num_classes=30, reg_class_agnostic=False,
    bbox_coder=dict(type=deltas, target_means=nothing, target_stds=${STD}),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', loss_weight=1.0))
second = dict(
    type='StandardRoIHead', bbox_head=box_head,
    bbox_roi_extractor=dict(
        type='SingleRoIExtractor', out_channels=${C}, featmap_strides=${MAPS},
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=${POINTS})))
drawn = dict(type='RandomSampler', neg_pos_ub=-1)
assigned = dict(type='MaxIoUAssigner', ignore_iof_thr=-1)
learning = dict(
    rpn=dict(
        assigner=dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, **assigned),
        sampler=dict(num=256, pos_fraction=0.5, add_gt_as_proposals=False, **drawn),
        allowed_border=${BORDER}, pos_weight=-1, debug=False),
    rpn_proposal=dict(nms_pre=${TOP}, max_per_img=${KEPT}, nms=dict(type='nms', iou_threshold=0.7),
                      min_bbox_size=0),
    rcnn=dict(
        assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, ${LOW}**assigned),
        sampler=dict(num=${ROIS}, pos_fraction=0.25, add_gt_as_proposals=True, **drawn),
        pos_weight=-1, debug=False))
testing = dict(
    rpn=dict(nms_pre=${TEST_TOP}, max_per_img=${TEST_KEPT}, nms=dict(type='nms', iou_threshold=0.7),
             min_bbox_size=0),
    rcnn=dict(score_thr=${SCORE}, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
model = dict(detector=dict(
    type='FasterRCNN',
    backbone=dict(
        type='ResNet', depth=50, num_stages=4, out_indices=${OUT}, frozen_stages=1, norm_cfg=norm,
        norm_eval=True, style='pytorch', ${SHAPE}
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=${NECK}, rpn_head=first, roi_head=second, train_cfg=learning, test_cfg=testing))
"""
_DC5 = {
    "SHAPE": "strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2),",
    "NECK": "dict(type='ChannelMapper', in_channels=[2048], out_channels=512, kernel_size=3)",
    "C": "512",
    "SCALES": "[4, 8, 16, 32]",
    "STRIDES": "[16]",
    "MAPS": "[16]",
    "POINTS": "2",
    "STD": "[0.2] * 4",
    "BORDER": "0",
    "TEST_TOP": "6000",
    "TEST_KEPT": "300",
    "TOP": "6000",
    "KEPT": "600",
    "LOW": "",
    "ROIS": "256",
    "SCORE": "1e-4",
    "OUT": "(3, )",
}
_FPN = {
    "SHAPE": "",
    "NECK": "dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5)",
    "C": "256",
    "SCALES": "[8]",
    "STRIDES": "[4, 8, 16, 32, 64]",
    "MAPS": "[4, 8, 16, 32]",
    "POINTS": "0",
    "STD": "[0.1, 0.1, 0.2, 0.2]",
    "BORDER": "-1",
    "TEST_TOP": "1000",
    "TEST_KEPT": "1000",
    "TOP": "2000",
    "KEPT": "1000",
    "LOW": "match_low_quality=False, ",
    "ROIS": "512",
    "SCORE": "0.05",
    "OUT": "(0, 1, 2, 3)",
}
_RUNTIME = """
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)
optimizer_config = dict(grad_clip=None)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
checkpoint_config = dict(interval=1)
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = resume_from = None
workflow = [('train', 1)]
opencv_num_threads = 0
"""
_SELSA = """
_base_ = ['base/dc5.py', 'base/runtime.py']
model = dict(type='SELSA', detector=dict(roi_head=dict(
    type='SelsaRoIHead',
    bbox_head=dict(
        type='SelsaBBoxHead', num_shared_fcs=2, bbox_coder=dict(target_stds=[0.2] * 4),
        aggregator=dict(type='SelsaAggregator', in_channels=1024, num_attention_blocks=16)))))
pixels = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
root = 'data/ILSVRC/'
size = (1000, 600)
steps = [
    dict(type='LoadMultiImagesFromFile'),
    dict(type='SeqResize', img_scale=size, keep_ratio=True),
    dict(type='SeqNormalize', **pixels),
    dict(type='SeqPad', size_divisor=16),
]
learned = steps + [
    dict(type='SeqLoadAnnotations', with_bbox=True, with_track=True),
    dict(type='SeqRandomFlip', share_params=True, flip_ratio=0.5),
    dict(type='VideoCollect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_instance_ids']),
    dict(type='ConcatVideoReferences'),
    dict(type='SeqDefaultFormatBundle', ref_prefix='ref')]
videos = dict(
    type='ImagenetVIDDataset', ann_file=root + 'annotations/imagenet_vid_train.json',
    img_prefix=root + 'Data/VID', pipeline=learned,
    ref_img_sampler=dict(num_ref_imgs=2, frame_range=9, filter_key_img=True,
                         method='bilateral_uniform'))
stills = dict(
    type='ImagenetVIDDataset', load_as_video=False,
    ann_file=root + 'annotations/imagenet_det_30plus1cls.json', img_prefix=root + 'Data/DET',
    pipeline=learned,
    ref_img_sampler=dict(num_ref_imgs=2, frame_range=0, filter_key_img=False,
                         method='bilateral_uniform'))
scored = dict(
    type='ImagenetVIDDataset', ann_file=root + 'annotations/imagenet_vid_val.json',
    img_prefix=root + 'Data/VID', test_mode=True,
    pipeline=steps + [dict(type='SeqRandomFlip', share_params=True, flip_ratio=0.0),
                      dict(type='ToList')],
    ref_img_sampler=dict(num_ref_imgs=14, frame_range=[-7, 7], method='test_with_adaptive_stride'))
data = dict(samples_per_gpu=1, workers_per_gpu=2, train=[videos, stills], val=scored, test=scored)
optimizer = dict(lr=0.01)
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=1 / 3, step=[2, 5])
total_epochs = 7
evaluation = dict(metric=['bbox'], interval=7)
"""
_MOT = """
_base_ = ['fpn.py', 'runtime.py']
model = dict(detector=dict(
    rpn_head=dict(bbox_coder=dict(clip_border=${CLIP})),
    roi_head=dict(bbox_head=dict(num_classes=1, bbox_coder=dict(clip_border=${CLIP})))))
pixels = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
root = 'data/${BENCHMARK}/'
side = (1088, 1088)
learned = [
    dict(type='${SEQ}LoadAnnotations', with_bbox=True),
    dict(type='${SEQ}Resize', img_scale=side, ratio_range=(0.8, 1.2), keep_ratio=True,
         bbox_clip_border=False),
    dict(type='${SEQ}PhotoMetricDistortion'),
    dict(type='${SEQ}RandomCrop', crop_size=side, bbox_clip_border=False),
    dict(type='${SEQ}RandomFlip', flip_ratio=0.5),
    dict(type='${SEQ}Normalize', **pixels), dict(type='${SEQ}Pad', size_divisor=32)]
seen = [dict(type='LoadImageFromFile'), ${PUBLIC} dict(
    type='MultiScaleFlipAug', img_scale=side, flip=False,
    transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Normalize', **pixels), dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img'])])]
data = dict(
    samples_per_gpu=2, workers_per_gpu=2,
    train=dict(type=${KIND}, ann_file=root + 'annotations/${TRAINED}_cocoformat.json',
               img_prefix=root + 'train', pipeline=learned),
    test=dict(type=${KIND}, ann_file=root + 'annotations/${SCORED}_cocoformat.json',
              ${FILE} img_prefix=root + 'train', pipeline=seen))
lr_config = dict(policy='step', step=[${STEP}], warmup='linear', warmup_iters=100,
                 warmup_ratio=0.01)
total_epochs = ${EPOCHS}
evaluation = dict(metric=['bbox'])
"""
_REID = """
person = dict(
    type='BaseReID',
    backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(3, ), style='pytorch'),
    neck=dict(type='GlobalAveragePooling', kernel_size=(8, 4), stride=1),
    head=dict(
        type='LinearReIDHead', num_fcs=1, in_channels=2048, fc_channels=1024, out_channels=128,
        num_classes=380, norm_cfg=dict(type='BN1d'), act_cfg=dict(type='ReLU'),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        loss_pairwise=dict(type='TripletLoss', margin=0.3, loss_weight=1.0)))
"""
_REID_CONFIG = """
_base_ = ['base/runtime.py']
TRAIN_REID = True
model = dict(reid=person)
pixels = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop = dict(type='Resize', img_scale=(128, 256), keep_ratio=False)
seen = [dict(type='LoadImageFromFile'), crop, dict(type='Normalize', **pixels)]
root = 'data/${BENCHMARK}/'
data = dict(
    samples_per_gpu=1,
    train=dict(
        type='ReIDDataset', triplet_sampler=dict(num_ids=8, ins_per_id=4),
        data_prefix=root + 'reid/imgs', ann_file=root + 'reid/meta/train_80.txt',
        pipeline=seen + [dict(type='SeqRandomFlip', share_params=False, flip_ratio=0.5)]),
    test=dict(type='ReIDDataset', triplet_sampler=None, data_prefix=root + 'reid/imgs',
              ann_file=root + 'reid/meta/val_20.txt', pipeline=seen))
optimizer = dict(lr=0.1)
lr_config = dict(policy='step', warmup='linear', warmup_iters=1000, warmup_ratio=1e-3, step=[5])
total_epochs = 6
evaluation = dict(interval=1, metric='mAP')
"""
_TRACKTOR = """
_base_ = 'base/${DETECTOR}.py'
model = dict(
    type='Tracktor', reid=person,
    motion=dict(type='CameraMotionCompensation', warp_mode='cv2.MOTION_EUCLIDEAN', num_iters=100,
                stop_eps=1e-5),
    tracker=dict(
        type='TracktorTracker', obj_score_thr=${SCORES},
        regression=dict(obj_score_thr=${SCORES}, nms=dict(type='nms', iou_threshold=0.6),
                        match_iou_thr=${OVERLAPS}),
        reid=dict(num_samples=10, img_scale=(256, 128), img_norm_cfg=None, match_score_thr=2.0,
                  match_iou_thr=0.2),
        momentums=None, num_frames_retain=10))
evaluation = dict(metric=['bbox', 'track'], interval=1)
"""
_SIAMESE = """
_base_ = 'base/runtime.py'
seed = 1
small = 127
large = 255
model = dict(
    type='SiamRPN',
    backbone=dict(
        type='SOTResNet', depth=50, out_indices=(1, 2, 3), frozen_stages=4, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='https://example.org/sot_resnet50.model')),
    neck=dict(type='ChannelMapper', in_channels=[512, 1024, 2048], out_channels=256,
              kernel_size=1, norm_cfg=dict(type='BN'), act_cfg=None),
    head=dict(
        type='SiameseRPNHead', in_channels=[256] * 3, weighted_sum=True,
        anchor_generator=dict(type='SiameseRPNAnchorGenerator', strides=[8], scales=[8],
                              ratios=[0.33, 0.5, 1, 2, 3]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', reduction='sum', loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', reduction='sum', loss_weight=1.2)),
    train_cfg=dict(rpn=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.3, min_pos_iou=0.6,
                      match_low_quality=False),
        sampler=dict(type='RandomSampler', num=64, pos_fraction=0.25, add_gt_as_proposals=False),
        num_neg=16, exemplar_size=small, search_size=large)),
    test_cfg=dict(exemplar_size=small, search_size=large, context_amount=0.5, center_size=7,
                  rpn=dict(${TRACKER})))
pairs = [
    dict(type='PairSampling', frame_range=100, pos_prob=0.8, filter_template_img=False),
    dict(type='SeqCropLikeSiamFC', context_amount=0.5, exemplar_size=small, crop_size=511), ${GREY}
    dict(type='SeqShiftScaleAug', target_size=[small, large], shift=[4, 64], scale=[0.05, 0.18]),
    dict(type='SeqColorAug', prob=[1.0, 1.0]), dict(type='SeqBlurAug', prob=[0.0, 0.2])]
root = 'data/'
vid = dict(type='SOTImageNetVIDDataset', pipeline=pairs, split='train', test_mode=False,
           ann_file=root + 'ILSVRC/annotations/imagenet_vid_train.json')
coco = dict(type='SOTCocoDataset', pipeline=pairs, split='train', test_mode=False,
            ann_file=root + 'coco/annotations/instances_train2017.json')
det = dict(type='SOTCocoDataset', pipeline=pairs, split='train', test_mode=False,
           ann_file=root + 'ILSVRC/annotations/imagenet_det_30plus1cls.json')
data = dict(
    samples_per_gpu=${PAIRS}, workers_per_gpu=4, samples_per_epoch=600 * 1000,
    train=dict(type='RandomSampleConcatDataset', dataset_sampling_weights=[0.25, 0.2, 0.55],
               dataset_cfgs=[vid, coco, det]),
    test=dict(type=${KIND}, ann_file=root + '${INFOS}_infos.txt', split='test', test_mode=True))
optimizer = dict(lr=0.005, paramwise_cfg=dict(custom_keys=dict(
    backbone=dict(lr_mult=0.1, decay_mult=1.0))))
optimizer_config = dict(
    _delete_=True, type='SiameseRPNOptimizerHook', backbone_start_train_epoch=10,
    backbone_train_layers=['layer2', 'layer3', 'layer4'],
    grad_clip=dict(max_norm=10.0, norm_type=2))
lr_config = dict(policy='SiameseRPN', lr_configs=[
    dict(type='step', start_lr_factor=0.2, end_lr_factor=1.0, end_epoch=5),
    dict(type='log', start_lr_factor=1.0, end_lr_factor=0.1, end_epoch=20)])
evaluation = dict(metric=['track'], interval=1, start=10, rule='greater', save_best='success')
total_epochs = 20
"""
_SIAMESE_RUNS = {
    "lasot": ("LaSOTDataset", "penalty_k=0.05, window_influence=0.42, lr=0.38"),
    "trackingnet": ("TrackingNetDataset", "penalty_k=0.05, window_influence=0.42, lr=0.38"),
    "otb100": ("OTB100Dataset", "penalty_k=0.4, window_influence=0.5, lr=0.4"),
    "uav123": ("UAV123Dataset", "penalty_k=0.1, window_influence=0.1, lr=0.5"),
    "vot2018": ("VOTDataset", "penalty_k=0.04, window_influence=0.44, lr=0.33"),
}
_SPLIT = ("lasot", "trackingnet")
_FP16 = "fp16 = dict(loss_scale=512.)"


def _filled(text: str, words: dict[str, str]) -> str:
    return Template(text).substitute(words)


def _on_mot(benchmark: str, *, tracked: bool, whole: bool = False, public: bool = False) -> str:
    half = "" if whole else "half-"
    scored = "half-val" if not whole else "test" if tracked else "train"
    epochs = 8 if benchmark == "MOT20" else 4
    words = {
        "CLIP": str(benchmark == "MOT20"),
        "BENCHMARK": benchmark,
        "SCORED": scored,
        "TRAINED": f"{half}train",
        "EPOCHS": str(epochs),
        "STEP": str(epochs * 3 // 4),
        "KIND": "'MOTChallengeDataset'" if tracked else "'CocoDataset'",
        "SEQ": "Seq" if tracked else "",
        "PUBLIC": "dict(type='LoadDetections')," if public else "",
        "FILE": f"detection_file=root + 'annotations/{scored}_detections.pkl'," if public else "",
    }
    return _filled(_MOT, words)


def _files() -> dict[str, str]:
    base = {"dc5": _filled(_STAGES, _DC5), "fpn": _filled(_STAGES, _FPN), "runtime": _RUNTIME}
    files = {f"base/{name}": text for name, text in base.items()}
    selsa = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
    deeper = "_base_ = './{}.py'\nmodel = dict(detector=dict(backbone=dict({})))"
    files[selsa] = _SELSA
    files[selsa.replace("_1x", "_fp16_1x")] = f"_base_ = './{selsa}.py'\n{_FP16}"
    files[selsa.replace("r50", "r101")] = deeper.format(selsa, "depth=101")
    x101 = "type='ResNeXt', depth=101, groups=64, base_width=4"
    files[selsa.replace("r50", "x101")] = deeper.format(selsa, x101)
    for year in ("15", "16", "17", "20"):
        benchmark, epochs = f"MOT{year}", 8 if year == "20" else 4
        run = f"r50_fpn_{epochs}e_mot{year}"
        files[f"base/faster-rcnn_{run}-half"] = _on_mot(benchmark, tracked=False)
        files[f"faster-rcnn_{run}-half"] = f"_base_ = 'base/faster-rcnn_{run}-half.py'"
        files[f"resnet50_b32x8_{benchmark}"] = _REID + _filled(
            _REID_CONFIG, {"BENCHMARK": benchmark}
        )
        for public in (False, True):
            name = f"tracktor_faster-rcnn_{run}-{'public' if public else 'private'}"
            for whole in (False, True):
                text = _on_mot(benchmark, tracked=True, whole=whole, public=public)
                own = name + "-half" * (not whole)
                files[f"base/{own}"] = text
                words = {"DETECTOR": own, "SCORES": "0.5", "OVERLAPS": "0.3"}
                files[own] = _REID + _filled(_TRACKTOR, words)
        files[f"base/faster-rcnn_{run}"] = _on_mot(benchmark, tracked=False, whole=True)
        files[f"faster-rcnn_{run}"] = f"_base_ = 'base/faster-rcnn_{run}.py'"
    for name in list(files):  # of whole training sets few are published
        of_mot = name.startswith(("faster-rcnn", "tracktor"))
        if of_mot and "-half" not in name and name not in _WHOLE:
            del files[name]
    half = "faster-rcnn_r50_fpn_4e_mot17-half"
    files[half.replace("r50", "r101")] = deeper.format(half, "depth=101")
    tracktor = f"tracktor_{half.removesuffix('-half')}-private-half"
    files[tracktor.replace("fpn_4e", "fpn_fp16_4e")] = f"_base_ = './{tracktor}.py'\n{_FP16}"
    searched = f"tracktor_{half.removesuffix('-half')}-public-half"
    words = {"DETECTOR": searched, "SCORES": "[0.4, 0.5, 0.6]", "OVERLAPS": "[0.3, 0.5]"}
    files[f"{searched}_search"] = _REID + _filled(_TRACKTOR, words)
    for name, (kind, tracker) in _SIAMESE_RUNS.items():
        otb = name == "otb100"
        grey = "dict(type='SeqGrayAug', prob=0.2)," if otb else ""
        words = {"TRACKER": tracker, "GREY": grey, "PAIRS": "16" if otb else "28"}
        text = _filled(
            _SIAMESE, {**words, "KIND": f"'{kind}'", "INFOS": name + "_test" * (name in _SPLIT)}
        )
        files[f"siamese_rpn_r50_20e_{name}"] = text
    hook = "optimizer_config = dict(type='SiameseRPNFp16OptimizerHook')"
    files["siamese_rpn_r50_fp16_20e_lasot"] = (
        f"_base_ = './siamese_rpn_r50_20e_lasot.py'\n{hook}\n{_FP16}"
    )
    return files


_WHOLE = (
    "faster-rcnn_r50_fpn_4e_mot17",
    "faster-rcnn_r50_fpn_8e_mot20",
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-private",
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public",
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-public",
)
_TEXTS = _files()
NAMES = tuple(name for name in _TEXTS if "/" not in name)
"""Names of the configs; each is the name of a recipe here."""


def texts() -> dict[str, str]:
    """The texts of all files, by path without the ending."""
    return dict(_TEXTS)


def edited(folder: Path, name: str, text: str) -> Path:
    """Write a config called ``mine`` that inherits from one of these and says more."""
    file = write_configs(folder) / "mine.py"
    file.write_text(f"_base_ = './{name}.py'\n{text}", encoding="utf-8")
    return file


def write_configs(folder: Path) -> Path:
    """Write all configs with the files they inherit from; returns the folder."""
    for name, text in _TEXTS.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
