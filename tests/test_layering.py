"""The layers hold: by what is written, and by what is loaded where torch and onnx cannot be."""

from __future__ import annotations

import os
import subprocess
import sys

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "export", "training"}:
            raise ImportError(f"{name} must not be imported by what ships")

sys.meta_path.insert(0, Refuse())
"""
CONTRACTS = """
from importlinter import cli
raise SystemExit(cli.lint_imports(no_cache=True, no_logo=True))
"""
ANALYSE = """
import numpy as np
import sdk
frame = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
print(type(sdk.analyze(frame)).__name__)
"""


def run(program: str, folder: os.PathLike[str]) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_import_contracts_are_kept(repository):
    run(CONTRACTS, repository)  # apart from the other tests: import-linter switches the loggers off that it finds


def test_every_op_is_under_the_contract_that_keeps_ops_apart(repository):
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    folders = {path.parent.name for path in repository.glob("kernels/*/reference.py")}
    assert folders
    assert all(f'"kernels.{folder}"' in text for folder in folders)


def test_import_sdk_loads_no_runtime_and_no_training_code(repository):
    heavy = "{'torch', 'onnx', 'onnxruntime', 'openvino', 'export', 'training'}"
    loaded = run(
        f"import sys, sdk; print(sorted({heavy} & {{name.split('.')[0] for name in sys.modules}}))", repository
    )
    assert loaded.strip() == "[]"


def test_a_frame_is_analysed_where_torch_and_onnx_cannot_be_imported(repository):
    assert run(WITHOUT_TORCH + ANALYSE, repository).strip() == "Analysis"
