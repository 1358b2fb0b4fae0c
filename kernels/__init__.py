"""Mathematics and native code of the operators that are ours. Importing it needs NumPy and nothing compiled.

One folder per operator: ``reference.py`` is its meaning in float64 NumPy, ``functional.py`` the differentiable torch
form, ``lowering.py`` the ONNX function of standard operators that every runtime reads.
"""

from __future__ import annotations

from pkgutil import iter_modules


def ops() -> list[str]:
    """Names of the operators, which are the sub-packages of this folder."""
    return sorted(module.name for module in iter_modules(__path__) if module.ispkg)
