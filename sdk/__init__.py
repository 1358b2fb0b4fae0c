"""Find manipulated images, and where they were manipulated.

    analysis = sdk.analyze("photo.jpg")
    print(analysis.verdict, analysis.score)
    analysis.save_overlay("photo-overlay.png")

Nothing heavy is imported before it is used: neither OpenCV nor a runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sdk.errors import (
    AnalyzerClosed,
    ArtifactInvalid,
    BackendUnavailable,
    BadFrame,
    BadSetting,
    DecodeFailed,
    DeviceUnavailable,
    LimitExceeded,
    MissingExtra,
    PrecisionUnavailable,
    RunFailed,
    SdkError,
    UnknownName,
    UnsupportedImage,
)

if TYPE_CHECKING:
    from sdk.agreement import Agreement, Analyzers, load_all
    from sdk.analyzer import Analyzer, load
    from sdk.defaults import analyze, close
    from sdk.limits import Limits
    from sdk.progress import Progress
    from sdk.results import Analysis
    from sdk.streaming.results import Moment, Summary
    from sdk.streaming.stream import Stream, stream
    from sdk.video.limits import VideoLimits

__version__ = "0.1.0"

__all__ = [
    "Agreement",
    "Analysis",
    "Analyzer",
    "AnalyzerClosed",
    "Analyzers",
    "ArtifactInvalid",
    "BackendUnavailable",
    "BadFrame",
    "BadSetting",
    "DecodeFailed",
    "DeviceUnavailable",
    "LimitExceeded",
    "Limits",
    "MissingExtra",
    "Moment",
    "PrecisionUnavailable",
    "Progress",
    "RunFailed",
    "SdkError",
    "Stream",
    "Summary",
    "UnknownName",
    "UnsupportedImage",
    "VideoLimits",
    "__version__",
    "analyze",
    "close",
    "load",
    "load_all",
    "stream",
]

_HOMES = {
    "Agreement": "sdk.agreement",
    "Analysis": "sdk.results",
    "Analyzer": "sdk.analyzer",
    "Analyzers": "sdk.agreement",
    "Limits": "sdk.limits",
    "Moment": "sdk.streaming.results",
    "Progress": "sdk.progress",
    "Stream": "sdk.streaming.stream",
    "Summary": "sdk.streaming.results",
    "VideoLimits": "sdk.video.limits",
    "analyze": "sdk.defaults",
    "close": "sdk.defaults",
    "load": "sdk.analyzer",
    "load_all": "sdk.agreement",
    "stream": "sdk.streaming.stream",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sdk' has no attribute {name!r}")  # what Python itself would raise


def __dir__() -> list[str]:
    return __all__
