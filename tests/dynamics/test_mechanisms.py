"""Mechanism scores: heads built by hand are found where they are, and nowhere else."""

import numpy as np
import pytest
import torch

from dynamics.families import anatomy
from dynamics.mechanisms.copying import COPYING, COPYING_RANK, copying_scores
from dynamics.mechanisms.sequences import DUPLICATE, PREFIX, PREVIOUS, repeated_tokens, sequence_scores
from tests.models import VARIANTS, perturbed
