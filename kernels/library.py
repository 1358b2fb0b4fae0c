"""The native library: where it is, what it offers, and why it offers nothing. Nothing needs it.

It is one file, at once a Python module and a library of custom operators for ONNX Runtime.
"""

from __future__ import annotations

import functools
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from sysconfig import get_config_var
from types import ModuleType

FOLDER = Path(__file__).parent
"""Where ``make native`` puts the library, and a wheel that has one."""
NAME = "_native"
PLUGINS = "_tensorrt.so"
"""The library of plugins, which TensorRT loads: ``python -m kernels tensorrt ROOT`` puts it into the same folder."""
MODULE = f"kernels.{NAME}"


def file_name() -> str:
    """Name of a library that this Python can load."""
    return f"{NAME}{get_config_var('EXT_SUFFIX')}"


def path() -> Path | None:
    """The library, if there is one and it loads: what ``register_custom_ops_library`` wants."""
    return FOLDER / file_name() if native() else None


def plugins() -> Path | None:
    """The library of plugins for TensorRT, if there is one; whether it loads, TensorRT knows."""
    file = FOLDER / PLUGINS
    return file if file.is_file() else None


@functools.cache
def native() -> ModuleType | None:
    """The library as a module, loaded once; None where :func:`reason_against` has a reason."""
    try:
        return load(FOLDER / file_name())
    except ImportError:
        return None


def load(file: Path) -> ModuleType:
    """The library in ``file`` as a module. Raises ImportError with the loader's reason."""
    loader = ExtensionFileLoader(MODULE, str(file))
    spec = spec_from_file_location(MODULE, file, loader=loader)
    assert spec is not None  # a loader was given
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def reason_against() -> str | None:
    """Why there is no native library, in one sentence; None where there is one."""
    file = FOLDER / file_name()
    others = sorted(other.name for other in FOLDER.glob(f"{NAME}.*") if other.name != file.name)
    if not file.is_file() and others:
        return f"{others[0]} is not for this Python, which loads {file.name}: make native builds it"
    if not file.is_file():
        return "not built: make native builds it in a checkout"
    try:
        load(file)
    except ImportError as error:
        return f"{file.name} does not load: {error}"
    return None


def offered() -> dict[str, str]:
    """Every operator that is native here, and on what, in words."""
    module = native()
    return dict(module.OPS) if module else {}
