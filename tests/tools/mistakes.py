"""Deliberate mistakes on the command line, by name: all tables together.

The tests run them in one process, ``benchmarks/mistakes.py`` each in a process of its own.
"""

from __future__ import annotations

from mistake import Mistake, row
from mistaken_files import FILES
from mistaken_interop import INTEROP
from mistaken_settings import SETTINGS

_NO_FILE, _NO_FOLDER = "there is no such file", "there is no such folder"
_BOX = "track frames --recipe SOT --init-box"
_TRAIN = "train VID --data-root data"
_EVAL = "eval VID --data-root data"

_COMMANDS = {
    "a command misspelt": row("trian VID", "No such command 'trian'", "'train'"),
    "a command of no kind": row("frobnicate", "No such command 'frobnicate'"),
    "a command in capitals": row("TRAIN VID", "No such command 'TRAIN'"),
    "a group's command misspelt": row("data chek VID", "No such command 'chek'", "'check'"),
    "a former name": row("data sample new", "`halftrack data synthetic`"),
    "no recipe": row("show", "Missing argument 'RECIPE'"),
    "two recipes": row("show VID MOT", "unexpected extra argument"),
    "an argument where none is taken": row("recipes all", "unexpected extra argument", "all"),
    "an option where none is taken": row("recipes --all", "No such option: --all"),
    "a recipe misspelt": row("show selsa_tiny", "no recipe 'selsa_tiny'", "selsa_tiny_sample, "),
    "a recipe in capitals": row("show SELSA_TINY_SAMPLE", "no recipe", "selsa_tiny_sample"),
    "a recipe in another alphabet": row("show сельса", "no recipe 'сельса'", "nearest are"),
    "a recipe's file": row("show configs/selsa.py", "configs/selsa.py", "no such file"),
    "an empty recipe": row("show ''", "an argument is empty", "behind 'show'"),
    "a recipe of blanks": row("show '  '", "an argument is empty", "behind 'show'"),
    "a recipe of 5000 letters": row("show LONG", "no recipe 'xxx", "...", "nearest are"),
    "a precision that is none": row("show VID --precision fp8", "'fp8'", "fp32, tf32, bf16"),
    "a precision in capitals": row("show VID --precision FP16", "--precision 'FP16'", "fp16"),
    "an option misspelt": row("show VID --presicion fp16", "--presicion", "--precision"),
    "an option with one dash": row("train VID -data-root data", "No such option"),
    "an option without value": row("show VID --precision", "'--precision' requires an argument"),
    "an option of another command": row(f"{_TRAIN} --checkpoint a", "No such option: --checkpoint"),
    "steps for training": row(f"{_TRAIN} --steps 5", "No such option: --steps"),
    "precision for a plan": row("plan VID --precision fp16", "No such option: --precision"),
    "a seed for evaluation": row(f"{_EVAL} --seed 3", "No such option: --seed"),
    "data for tracking": row(f"{_BOX} 1,2,3,4 --data-root data", "No such option: --data-root"),
    "resume for parity": row("parity VID --data-root data --seeds 2 --resume", "--resume"),
    "arguments for the doctor": row("doctor --fix", "No such option: --fix"),
    "a version misspelt": row("--verson", "No such option: --verson", "--version"),
    "a value for a switch": row(f"{_TRAIN} --trust yes", "unexpected extra argument", "yes"),
    "another value for a switch": row("data check VID --data-root data --decode no", "extra"),
}
_TUNE = "tune MOT --data-root data"
_IOU = f"{_TUNE} --field tracker.reid_iou"
_TUNING = {
    "a detector": row("tune DET --data-root data --trials 5", "no tracker", "take a tracktor_"),
    "no field": row(_TUNE, "--field is missing", "tracktor_tiny_sample", "tracker.reid_distance"),
    "no range": row(f"{_TUNE} --field tracker.reid_iou", "'tracker.reid_iou'", "LOW:HIGH"),
    "a field misspelt": row(f"{_TUNE} --field tracker.reid_io=0:1", "--field", "nearest are"),
    "a field of the data": row(f"{_TUNE} --field data.test_batch=1:4", "tracker.reid_iou", "--set"),
    "a range out of bounds": row(f"{_IOU}=0:2", "reid_iou=2", "at least 0, at most 1"),
    "a range backwards": row(f"{_IOU}=0.5:0.1", "'tracker.reid_iou=0.5:0.1'", "LOW below HIGH"),
    "a range of words": row(f"{_IOU}=low:high", "reid_iou='low'", "a number"),
    "a step of nothing": row(f"{_IOU}=0:1:0", "'tracker.reid_iou=0:1:0'", "above 0"),
    "a step too small": row(f"{_IOU}=0:1:1e-9", "1000000001 values", "100000"),
    "one value": row(f"{_IOU}=0.3", "'tracker.reid_iou=0.3'", "two different values"),
    "a field twice": row(f"{_IOU}=0:1 --field tracker.reid_iou=0,1", "reid_iou is given twice"),
    "an unknown metric": row(f"{_IOU}=0,1 --metric mAP", "--metric 'mAP'", "idf1, mota, hota"),
    "a metric of another task": row(
        "tune SOT --data-root data --field tracker.lr=0,1 --metric idf1", "'idf1'", "success"
    ),
    "no trials": row(f"{_IOU}=0:1 --trials 0", "'--trials'", "'0'", "at least 1"),
    "a range without trials": row(f"{_IOU}=0:1", "--trials is missing", "LOW:HIGH:STEP"),
    "fewer trials than the grid": row(
        f"{_IOU}=0:1:0.1 --trials 5 --sampler grid", "11 points", "leaves 4", "more trials"
    ),
    "an unknown sampler": row(f"{_IOU}=0:1 --sampler random", "'random'", "optuna, grid"),
    "a cache without unit": row(f"{_IOU}=0,1 --cache-size 20", "'20' (--cache-size)", "24GiB"),
    "no weights to tune with": row(f"{_IOU}=0,1", "no weights of the detector", "--detector"),
    "no checkpoint to tune with": row(
        "tune SOT --data-root data --field tracker.lr=0,1", "--checkpoint is missing"
    ),
    "no data to tune on": row("tune MOT --data-root no", "--data-root no", _NO_FOLDER),
    "a search into a file": row(f"{_IOU}=0,1 --out text", "--out text", "expected a folder"),
    "two kinds of weights": row(f"{_IOU}=0,1 --checkpoint empty --reid empty", "leave out"),
}
_STUDIES = {
    "no step": row("rehearse VID --steps 0", "'--steps'", "'0'", "at least 1"),
    "steps in words": row("rehearse VID --steps ten", "'--steps'", "'ten'", "a whole number"),
    "ranges never": row("rehearse VID --every 0", "'--every'", "'0'", "at least 1"),
    "ranges backwards": row("rehearse VID --every -5", "'--every'", "'-5'", "at least 1"),
    "no sample": row("rehearse VID --samples 0", "'--samples'", "'0'", "at least 1"),
    "samples beyond all": row(f"plan VID --samples {10**12}", "'--samples'", "at most 100000"),
    "half a clip": row("rehearse VID --clips 0.5", "--clips", "'0.5'", "a whole number"),
    "one side": row("rehearse VID --image 100", "'100' (--image)", "608x1008"),
    "sides with a comma": row("rehearse VID --image 304,512", "'304,512' (--image)", "608x1008"),
    "an image of nothing": row("plan VID --image 0x0", "'0x0' (--image)", "at least 16"),
    "an image of 400 digits": row(f"plan VID --image {'9' * 400}x9", "(--image)", "608x1008"),
    "an image beyond all": row("plan VID --image 9999999x9999999", "9999999", "at most"),
    "a region that is not square": row("plan SOT --image 100x200", "image 100x200", "square"),
    "nothing to rehearse": row("rehearse VID --precision fp32", "'fp32'", "bf16, fp16"),
    "a tracker to rehearse": row("rehearse MOT", "no training step"),
    "init of a rehearsal": row("rehearse VID --init no", "--init no", _NO_FILE),
    "no data to rehearse": row("rehearse VID --data-root data --init none", "no ImageNet here"),
    "a page into a file": row("rehearse VID --out text", "--out text", "expected a folder"),
    "a rehearsal nowhere": row("rehearse VID --data-root no", "--data-root no", _NO_FOLDER),
    "memory without unit": row("plan VID --gpu-memory 11", "'11' (--gpu-memory)", "24GiB"),
    "memory of nothing": row("plan VID --gpu-memory 0GB", "'0GB' (--gpu-memory)", "24GiB"),
    "memory that is none": row("plan VID --gpu-memory nanGB", "'nanGB' (--gpu-memory)", "24GiB"),
    "memory below zero": row("plan VID --gpu-memory -4GB", "'-4GB' (--gpu-memory)", "24GiB"),
    "memory of 400 digits": row(f"plan VID --gpu-memory {'9' * 400}GB", "(--gpu-memory)", "24GiB"),
    "memory in another unit": row("plan VID --gpu-memory 3TB", "'3TB' (--gpu-memory)", "24GiB"),
    "no objects": row("plan VID --objects 0", "'--objects'", "'0'", "at least 1"),
    "objects beyond all": row("plan VID --objects 99999999", "'--objects'", "at most 10000"),
    "a plan into a folder": row("plan VID --out data", "--out data", "expected a file"),
    "a plan nowhere": row("plan VID --out no/plan.json", "--out no/plan.json", "no folder no"),
    "a plan below a file": row("plan VID --out text/a.json", "--out text/a.json", "no folder"),
    "a plan of 5000 letters": row("plan VID --out LONG", "--out xxx", "too long"),
    "a tracker to plan": row("plan MOT", "no training step"),
    "no seeds": row("parity VID --data-root data", "Missing option '--seeds'"),
    "zero seeds": row("parity VID --data-root data --seeds 0", "'--seeds'", "at least 1"),
    "seeds in words": row("parity VID --data-root data --seeds two", "'--seeds'", "'two'"),
    "no margin": row("parity VID --data-root data --seeds 2 --margin 0", "'--margin'", "'0'"),
    "a margin of NaN": row("parity VID --data-root data --seeds 2 --margin nan", "'--margin'"),
    "a margin below zero": row("parity VID --data-root data --seeds 2 --margin -1", "'-1'"),
    "fp32 with itself": row("parity VID --data-root data --seeds 2 --precision fp32", "'fp32'"),
    "a baseline in half": row("parity VID --data-root data --seeds 2 --baseline bf16", "'bf16'"),
    "a baseline alone": row("parity VID --data-root data --seeds 2 --baseline", "an argument"),
    "a tracker to compare": row("parity MOT --data-root data --seeds 2", "no training step"),
    "an unknown layout": row("data synthetic new --layout coco", "'coco'", "vid, mot, sot"),
    "a short film": row("data synthetic new --frames 7", "'--frames'", "'7'", "at least 8"),
    "frames in words": row("data synthetic new --frames many", "'--frames'", "'many'"),
    "videos below zero": row("data synthetic new --train-videos -1", "'--train-videos'", "'-1'"),
    "no videos": row("data synthetic new --train-videos 0 --val-videos 0", "one video is needed"),
    "films into a file": row("data synthetic text", "FOLDER text", "expected a folder"),
    "films into others' files": row("data synthetic frames", "frames is not empty"),
    "nowhere for films": row("data synthetic", "Missing argument 'FOLDER'"),
    "a bundle nowhere": row("replay no", "FOLDER no", _NO_FOLDER),
    "a bundle that is a file": row("replay text", "FOLDER text", "expected a folder"),
    "an empty bundle": row("replay data", "no replay bundle in data", "bundle.json"),
    "a bundle on no device": row("replay data --device cuda:x", "--device 'cuda:x'"),
    "an unknown task": row("quickstart --task coco", "--task 'coco'", "vid, mot, sot, all"),
    "two tasks": row("quickstart --task vid,mot", "--task 'vid,mot'", "vid, mot, sot, all"),
    "a quickstart into a file": row("quickstart --out text", "--out text", "expected a folder"),
    "a quickstart's seed": row("quickstart --seed x", "'--seed'", "'x'", "a whole number"),
}  # fmt: skip
MISTAKES: dict[str, Mistake] = {
    f"{room}: {name}": mistake
    for room, rows in (
        ("command", _COMMANDS),
        ("setting", SETTINGS),
        ("file", FILES),
        ("interop", INTEROP),
        ("study", _STUDIES),
        ("tuning", _TUNING),
    )
    for name, mistake in rows.items()
}
