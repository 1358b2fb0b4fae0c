"""Mathematics and native code of the operators that are ours. Importing it needs NumPy and nothing compiled.

One folder per operator: ``reference.py`` is its meaning in float64 NumPy, ``functional.py`` the differentiable torch
form, ``lowering.py`` the ONNX function of standard operators that every runtime reads. Where an operator has native
code, its launcher knows no framework and each framework has a shell around it; :mod:`kernels.library` finds what was
built.
"""

from __future__ import annotations

from pkgutil import iter_modules


def ops() -> list[str]:
    """Names of the operators, which are the sub-packages of this folder."""
    return sorted(module.name for module in iter_modules(__path__) if module.ispkg)
