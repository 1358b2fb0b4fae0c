"""The folders are the registries: each module in one has what its folder promises."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
from importlib import import_module

import pytest

import export.targets
import kernels
import sdk.backends
import training.models


def modules(package: object) -> list[str]:
    return [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("name", modules(training.models))
def test_model_has_a_config_a_build_and_a_citation(name):
    module = import_module(name)
    assert dataclasses.is_dataclass(module.Config)
    assert callable(module.build)
    assert any(venue in module.__doc__ for venue in ("TCSVT", "CVPR", "AAAI", "ECCV", "ICCV", "NeurIPS", "arXiv"))


@pytest.mark.parametrize("name", modules(sdk.backends))
def test_backend_has_a_rank_reasons_precisions_and_open(name):
    module = import_module(name)
    assert isinstance(module.RANK, int)
    for function in (module.reasons_against, module.precisions, module.open):
        assert inspect.getdoc(function)


def test_backends_are_ranked_without_a_tie():
    ranks = [import_module(name).RANK for name in modules(sdk.backends)]
    assert len(set(ranks)) == len(ranks) > 0


@pytest.mark.parametrize("name", modules(export.targets))
def test_target_writes_and_says_what(name):
    module = import_module(name)
    assert callable(module.export)
    assert inspect.getdoc(module)


@pytest.mark.parametrize("name", kernels.ops())
def test_op_has_its_three_meanings(name):
    reference, functional, lowering = (
        import_module(f"kernels.{name}.{role}") for role in ("reference", "functional", "lowering")
    )
    assert callable(getattr(reference, name))
    assert callable(getattr(functional, name))
    assert callable(lowering.function)


@pytest.mark.parametrize(
    "package", [training.models, sdk.backends, export.targets], ids=lambda package: package.__name__
)
def test_names_lists_the_folder(package):
    listed = set(package.names())
    assert {name.rpartition(".")[2] for name in modules(package)} <= listed
