"""A hook belongs to the module that it was given to, not to copies and pickles of it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from halftrack.precision.hooks import Hook
from halftrack.precision.sites import RunningModules


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_does_not_call_it(copied) -> None:
    module, seen = nn.Linear(2, 2), list[nn.Module]()
    module.register_forward_pre_hook(Hook(lambda module, *_: seen.append(module)))
    module.register_forward_hook(
        Hook(lambda module, *_, **__: seen.append(module)), with_kwargs=True
    )
    other = copied(module)
    other(torch.ones(1, 2))
    assert seen == []
    module(torch.ones(1, 2))
    assert seen == [module, module]


def test_a_model_that_is_followed_can_be_copied_and_pickled() -> None:
    model, changes = nn.Sequential(nn.Linear(2, 2)), list[None]()
    with RunningModules(model, lambda: changes.append(None)):
        pickle.loads(pickle.dumps(copy.deepcopy(model)))(torch.ones(1, 2))
        assert changes == []
        model(torch.ones(1, 2))
        assert len(changes) == 4
