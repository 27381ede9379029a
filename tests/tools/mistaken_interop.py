"""Mistakes in other programs' files, and in recipes in files: configs, logs, checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from mistake import row

_RESUME = "train VID --data-root sets --resume-from"
_ONES = {"backbone.conv1.weight": np.ones((2, 2), np.float32)}
_GROUP = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
_OWN = 'from halftrack.recipes import load_recipe\nrecipe = load_recipe("reid_tiny_sample")\n'

# What Python takes as a file of a recipe's or a config's.
_SOURCES = {
    "own": _OWN,
    "away": f'{_OWN}init = "away.pth"\n',
    "three": f"{_OWN}init = 3\n",
    "words": f'{_OWN}init = "text"\n',
    "number": "recipe = 3\n",
    "divided": "recipe = 1 / 0\n",
    "ended": "import sys\nsys.exit(4)\nrecipe = 1\n",
    "cut": "recipe = (\n",
    "neither": "x = 1\n",
    "both": "recipe = 1\nmodel = dict()\n",
    "other": "model = dict(type='DFF')\n",
    "called": "import os\nmodel = dict(type=os.getcwd())\n",
}
_PICKLED = {
    "list": [1, 2],
    "bare": _ONES,
    "published": {"meta": {"epoch": 1, "iter": 5}, "state_dict": _ONES},
    "empty": {"meta": {}, "state_dict": {}},
    "nan": {"meta": {}, "state_dict": {"a": np.array([1.0, np.nan], np.float32)}},
    "ours": {"position": 0, "schedule": {}},
    "fewer": {
        "meta": {"epoch": 1, "iter": 5},
        "state_dict": _ONES,
        "optimizer": {"state": {}, "param_groups": [_GROUP | {"params": []}]},
    },
    "foreign": {
        "meta": {"epoch": 1, "iter": 5},
        "state_dict": _ONES,
        "optimizer": {"state": {}, "param_groups": [_GROUP | {"params": [0]}]},
    },
    "adam": {
        "meta": {"epoch": 1, "iter": 5},
        "state_dict": _ONES,
        "optimizer": {"state": {0: {"exp_avg": 1}}, "param_groups": [_GROUP | {"params": [0]}]},
    },
}


def set_up_interop(folder: Path) -> None:
    """Write the files that these mistakes name."""
    for name, text in _SOURCES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for name, state in _PICKLED.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(state, 2))
    line = '{"mode": "train", "epoch": 1, "iter": 1, "loss": 1.5}\n'
    (folder / "a.log.json").write_text(line, encoding="utf-8")
    (folder / "torn.log.json").write_text(line[:20], encoding="utf-8")
    (folder / "list.log.json").write_text(f"{line}[1]\n", encoding="utf-8")


INTEROP = {
    "no config": row("import", "Missing argument 'CONFIG.py'"),
    "a config nowhere": row("import no.py", "no.py", "there is no such file"),
    "a folder as config": row("import data", "data", "expected a file"),
    "bytes as config": row("import binary", "binary", "no text in UTF-8"),
    "text as config": row("import text", "text", "line 1"),
    "a recipe as config": row("import own.py", "own.py is a recipe already", "recipe's name"),
    "a config without model": row("import neither.py", "neither.py", "no model=dict(...)"),
    "a config of another method": row("import other.py", "line 1", "'DFF'", "SELSA, Tracktor"),
    "a config that calls": row("import called.py", "called.py, line 1"),
    "an import nowhere": row("import other.py -o no/a.py", "--out no/a.py", "no folder no"),
    "an import over a file": row("import other.py -o own.py", "--out own.py", "move it away"),
    "an import into a folder": row("import other.py -o data", "--out data", "a folder"),
    "an option that is none": row(
        "import other.py --cfg-options x", "--cfg-options 'x'", "KEY=VALUE"
    ),
    "a config to train": row("train other.py --data-root data", "line 1", "'DFF'", "SELSA"),
    "a file of neither": row("train neither.py --data-root data", "assigns recipe", "_base_"),
    "a file of both": row("show both.py", "both.py", "give one of them another name"),
    "a recipe cut off": row("train cut.py --data-root data", "cut.py, line 1: no Python"),
    "a number as recipe": row("show number.py", "recipe=3: expected a recipe"),
    "a recipe that fails": row("show divided.py", "divided.py, line 1: ZeroDivisionError"),
    "a recipe that ends": row("show ended.py", "ended.py, line 2: SystemExit"),
    "a field of a file's recipe": row("show own.py --set data.max_crop=3", "data.max_crops"),
    "weights of a recipe nowhere": row(
        "train away.py --data-root data", "away.py starts from away.pth", "--init none"
    ),
    "a number as weights": row("train three.py --data-root data", "init=3: expected the path"),
    "text as a recipe's weights": row("train words.py --data-root data", "text", "a pickle"),
    "a recipe's missing data": row("train own.py --data-root data", "no MOT17 here"),
    "a field of no log": row("plot a.log.json --keys los", "--keys 'los'", "there are loss"),
    "no field of a log": row("plot a.log.json --keys ,", "--keys ''", "there are loss"),
    "a log of bytes": row("plot binary", "binary holds no line of a training"),
    "a log that is torn": row("plot torn.log.json", "torn.log.json, line 1: not JSON"),
    "a log with a list": row("plot list.log.json", "list.log.json, line 2: expected an object"),
    "a picture of another kind": row("plot a.log.json --out a.svg", "'a.svg'", ".png or .html"),
    "a table of logs nowhere": row("plot a.log.json --csv no/a.csv", "--csv no/a.csv", "folder no"),
    "nothing to watch": row("watch", "Missing argument 'RUN'"),
    "watching a run nowhere": row("watch runs/X", "RUN runs/X", "no such folder or file"),
    "watching a folder of data": row("watch data --once", "no log.jsonl", "in data"),
    "watching a list": row("watch list.log.json", "list.log.json, line 2: expected an object"),
    "reporting a run nowhere": row("report runs/X", "RUN runs/X", "no such folder or file"),
    "reporting as text": row("report a.log.json --out a.txt", "--out 'a.txt'", "ends in .html"),
    "reporting into a folder nowhere": row("report a.log.json --out no/a.html", "no folder no"),
    "reporting data": row("report data", "no log.jsonl", "in data"),
    "comparing one run": row("compare a.log.json", "RUN a.log.json", "two runs or more"),
    "comparing with nothing": row("compare a.log.json runs/X", "RUN runs/X", "no such file"),
    "comparing seven": row(f"compare {'a.log.json ' * 7}", "7 logs", "6 at most"),
    "comparing a field of none": row("compare a.log.json a.log.json --keys x", "--keys 'x'"),
    "a comparison as text": row("compare a.log.json a.log.json --out a.txt", ".png or .html"),
    "a list to export": row("export list.pkl", "list.pkl holds a list", "dict of tensors"),
    "weights of no recipe": row("export published.pkl", "does not say its recipe", "--recipe"),
    "weights of another model": row("export published.pkl --recipe VID", "fits nowhere in SELSA"),
    "a list to publish": row("publish list.pkl", "list.pkl holds a list"),
    "tensors alone to publish": row("publish bare.pkl", "no checkpoint with meta and state_dict"),
    "nothing in a checkpoint": row("publish empty.pkl", "empty.pkl holds no weights"),
    "weights of NaN": row("publish nan.pkl", "nan.pkl cannot be used: a holds nan", "1 of 2"),
    "publishing below a file": row("publish bare.pkl --out text/a.pth", "--out text/a.pth"),
    "a list as theirs": row(f"{_RESUME} list.pkl", "list.pkl holds a list"),
    "tensors alone as theirs": row(f"{_RESUME} bare.pkl", "no training checkpoint", "meta"),
    "a published one as theirs": row(f"{_RESUME} published.pkl", "no optimizer state", "--init"),
    "ours as theirs": row(f"{_RESUME} ours.pkl", "a checkpoint of halftrack", "--out"),
    "theirs with fewer": row(f"{_RESUME} fewer.pkl", "0 parameters", "of different models"),
    "theirs of Adam": row(f"{_RESUME} adam.pkl", "optimizer.state[0]", "only SGD"),
    "theirs of another model": row(f"{_RESUME} foreign.pkl", "fits nowhere in SELSA"),
}
