"""Launches and bytes of a step, by the rules of `lfm_cli.launches`, in whatever environment."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (MLX's stubs are partial.)

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

__all__ = ["bytes_read", "launched"]


def _by_path() -> ModuleType:
    """`lfm_cli.launches` needs MLX alone, but its package is not installed beside a peer."""
    path = Path(__file__).parents[3] / "cli" / "lfm_cli" / "launches.py"
    spec = importlib.util.spec_from_file_location("launches", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RULES = _by_path()


def launched(step: Callable[[], Any]) -> int:
    """Kernels that a step launches; it must not evaluate anything."""
    return sum(RULES.launches(step).values())


def bytes_read(step: Callable[..., Any], module: nn.Module, *inputs: mx.array) -> int:
    """Bytes of a module's weights that a step of `inputs` reads."""
    weights: list[Any] = [array for _, array in tree_flatten(module.parameters())]
    return RULES.weight_bytes(step, weights, *inputs)
