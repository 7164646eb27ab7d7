"""The fused MSCA equals the eager one, by Triton's interpreter on the CPU."""

import json
import subprocess
import sys

import pytest
from process_helpers import LONG, ROOT, environment

from lisa.errors import InputError
from lisa.models.kernels import msca

SHAPES = ((2, 5, 7, 9, False), (1, 17, 3, 26, False), (1, 66, 4, 5, False), (1, 6, 5, 8, True))
"""Batch, channels, height, width, bf16: odd sides, strips longer than the map, no power of two."""


@pytest.mark.slow
def test_output_and_gradients_are_the_eager_ones():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "fused_msca_worker", json.dumps(SHAPES)]
    interpreted = environment(TRITON_INTERPRET="1")
    done = subprocess.run(command, env=interpreted, capture_output=True, text=True, timeout=LONG, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for (*_, bf16), distances in zip(SHAPES, json.loads(done.stdout), strict=True):
        assert len(distances) == 18
        assert max(distances.values()) < (3e-2 if bf16 else 2e-6), distances


def test_without_triton_it_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(msca, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="the fused MSCA needs Triton"), msca.fused_msca():
        pass


def test_it_is_off():
    assert not msca.is_fused()
