"""Marks for tests that depend on the versions that are installed."""

import pytest
import torch

# PyTorch 2.4.0, when it compiles, calls `forward` of an autograd function with a context where there is a
# `setup_context` ("too many positional arguments"), and cannot export a model ("unsupported operator:
# aten._standard_gamma"). Where between the two versions it begins to work is not known.
with_todays_compiler = pytest.mark.skipif(
    torch.__version__ < (2, 13), reason="torch.compile and torch.export are tested with PyTorch 2.13 and newer"
)
# PyTorch 2.4 warns of its own call when it unpickles a tensor.
unpickles_tensors = pytest.mark.filterwarnings("ignore:You are using .torch.load. with:FutureWarning")
