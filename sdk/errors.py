"""Every error raised on purpose: what happened, then what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class SdkError(Exception):
    """Base of every error raised on purpose; ``problem`` and ``remedy`` are also attributes."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by attributes: errors travel from worker processes."""
        return _rebuild, (type(self), self.problem, self.remedy)


def _rebuild(kind: type[SdkError], problem: str, remedy: str) -> SdkError:
    error = kind.__new__(kind)
    SdkError.__init__(error, problem, remedy=remedy)
    return error


class BadFrame(SdkError):
    """An array is not a frame: wrong shape, dtype or colour order."""


class LimitExceeded(SdkError):
    """An input exceeds one of the limits on bytes, pixels, frames or seconds; the limit is named."""


class LargePicture(LimitExceeded):
    """A picture has more pixels than are analysed where somebody waits for the answer; elsewhere it may be."""


class UnsupportedImage(SdkError):
    """The file's kind, mode or bit depth is not one that is analysed."""


class DecodeFailed(SdkError):
    """The file claims to be an image and its pixels cannot be decoded."""


class ArtifactInvalid(SdkError):
    """An artifact is missing, incomplete, of another schema, or does not match its checksums."""


class DeviceUnavailable(SdkError):
    """The device that was asked for cannot be used here; no other is used instead."""


class PrecisionUnavailable(SdkError):
    """The precision that was asked for is not allowed for the model or not offered by the machine."""


class MissingExtra(SdkError):
    """A Python package of an optional extra is not installed, or is and cannot be imported: ``why``, in its words."""

    def __init__(self, package: str, *, extra: str, purpose: str, why: str = "") -> None:
        state = f"cannot be imported: {why}" if why else "is not installed"
        super().__init__(
            f"{purpose} needs the package {package}, which {state}", remedy=f"pip install 'imdl-sdk[{extra}]'"
        )


class BackendUnavailable(SdkError):
    """No backend can run an artifact here; carries each backend's own reasons."""

    def __init__(self, artifact: str, reasons: Mapping[str, list[str]], *, remedy: str) -> None:
        why = "".join(f"\n  {backend}: {reason}" for backend in reasons for reason in reasons[backend])
        super().__init__(f"no backend can run {artifact} on this machine:{why}", remedy=remedy)


class RunFailed(SdkError):
    """The machine failed: a runtime while it ran a graph (memory, a shape, a fault of its own), a process to start."""


class UnknownName(SdkError):
    """A name that is not in a registry or among the settings of a thing."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        choices = sorted(known)
        close = difflib.get_close_matches(str(name), choices, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(choices)}"
        super().__init__(f"no {kind} named {name!r}", remedy=hint)


class BadSetting(SdkError):
    """A setting has a value of a wrong type, or one out of its range."""


class Faults:
    """Errors about one thing, the ``subject``, that are told together: who mends one would only meet the next."""

    def __init__(self, subject: str) -> None:
        self._subject, self._found = subject, list[SdkError]()

    def add(self, error: SdkError) -> None:
        """Keep an error; the same one is told once."""
        if str(error) not in map(str, self._found):
            self._found.append(error)

    def check(self, problem: str, remedy: str, *, holds: bool) -> None:
        """Keep a :class:`BadSetting` unless something ``holds``."""
        if not holds:
            self.add(BadSetting(problem, remedy=remedy))

    def tell(self) -> None:
        """Raise what was found: a single error as it is, several as one."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            lines = "".join(f"\n  {error.problem}: {error.remedy}" for error in self._found)
            raise BadSetting(f"{len(self._found)} faults in {self._subject}:{lines}", remedy="mend them all")


class AnalyzerClosed(SdkError):
    """An Analyzer was used after ``close()``."""


class EvidenceInvalid(SdkError):
    """A record of evidence is not one, was changed after it was signed, or does not belong to the file."""


class ServiceRefused(SdkError):
    """The service turns a request away with an HTTP ``status``, and says when to come again if that may help.

    ``bound`` names the one that was met, for those who count.
    """

    def __init__(
        self, problem: str, *, remedy: str, status: int, retry_after: float | None = None, bound: str = ""
    ) -> None:
        super().__init__(problem, remedy=remedy)
        self.bound = bound
        self.status = status
        self.retry_after = retry_after


class BrokerFailed(SdkError):
    """A message broker does not take or give what it has to; what was not written is not committed."""


class ParityFailed(SdkError):
    """An exported graph differs from its torch model by more than the budget, or a layer overflows its precision."""
