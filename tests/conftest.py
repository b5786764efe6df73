"""What every test shares: one thread, fixed seeds, the same hypothesis examples on every machine that checks."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

import rounding

torch.set_num_threads(1)
rounding.simulate()

# No deadlines: the machine may be busy. Fixed examples where a failure must be reproducible from the log.
_quiet = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("explore", **_quiet)
settings.register_profile("fixed", derandomize=True, database=None, **_quiet)
settings.load_profile("fixed" if os.environ.get("CI") else "explore")


@pytest.fixture(autouse=True)
def seeds() -> int:
    """Every test starts from the same random streams; returns the seed."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (the legacy stream is what third-party code draws from)
    torch.manual_seed(0)
    return 0
