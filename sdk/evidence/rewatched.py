"""A video that is examined again: as far as its record goes, with an eye on the frames that the record is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdk.errors import EvidenceInvalid, LimitExceeded, SdkError
from sdk.evidence.allowance import near
from sdk.footage import Footage, Still, Watched, watch

if TYPE_CHECKING:
    from sdk.analyzer import Analyzer
    from sdk.policy import Decision, Finding, Policy
    from sdk.results import Analysis
    from sdk.streaming.results import Moment


@dataclass(slots=True, eq=False)
class _Marked(Footage):
    """Footage that also remembers one frame, and counts those that another machine might judge otherwise."""

    mark: int = 0
    """Number of the frame."""
    tolerance: float = 0.0
    marked: Mapping[str, Analysis] = field(default_factory=dict)
    close: int = 0
    """Frames with a score as near to a level as the tolerance."""

    def add(self, moments: Mapping[str, Moment], findings: Mapping[str, Finding]) -> None:
        """Count one frame."""
        Footage.add(self, moments, findings)
        if next(iter(moments.values())).index == self.mark:
            self.marked = {name: each.analysis for name, each in moments.items()}
        limits = [limit for limit in (self.policy.at(self.content).review, self.policy.at(self.content).block) if limit]
        self.close += any(
            abs(each.score - level) <= self.tolerance
            for each in findings.values()
            for level in (*each.rates.values(), *(limit.level(each.rates) for limit in limits))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rewatched:
    """What was found in the video now."""

    watched: Watched
    footage: _Marked
    error: SdkError | None
    known: bool
    """Whether the policy is at hand that says what each frame leads to."""
    is_cut: bool
    """Whether it was ended where the record says that a limit ended it."""

    @property
    def analyses(self) -> list[Analysis]:
        """Of the frame that the record is about, by model."""
        return list(self.footage.marked.values())

    def to_dict(self) -> dict[str, object]:
        """``video`` of a record."""
        return self.watched.to_dict()

    def settle(self, then: Mapping[str, Any], now: dict[str, Any]) -> list[str]:
        """Let the recorded figures stand where another machine may come to them; what cannot be told.

        Where frames are counted, one that is close to a level may fall on either side of it.
        """
        before, after = then["video"], now["video"]
        unchecked = ["error: no replay can tell what limit ended the examination"] if self.is_cut else []
        if not self.known:
            after |= {name: before[name] for name in ("actions", "worst")}
            unchecked.append("video: which frames are the worst, and what they lead to, only the policy tells")
        if near(before, after, self.footage.tolerance):
            now["video"] = before
        elif self.footage.close and before["frames"] == after["frames"]:
            now["video"] = before
            close = f"{self.footage.close} of its frames score as near to a level as another machine may move them"
            unchecked.append(f"video: it was counted otherwise; {close}")
        return unchecked

    def decision(
        self, policy: Policy, content: str, findings: Mapping[str, Finding], *, video: Mapping[str, Any] | None
    ) -> Decision:
        """What ``policy`` makes of the figures in ``video`` and of the ``findings`` in its worst frame.

        Without ``video`` it is the policy on trial, whose own count no record holds.
        """
        counted = self.watched.shadow
        if video is not None:
            worst, frames = [Still(**video["worst"][0])], dict(video["actions"])
            counted = Footage(policy, content, frames, worst, reasons=policy.decide(findings, content=content).reasons)
        assert counted is not None  # there is a policy on trial
        return counted.decision(self.error)


def rewatched(
    data: bytes,
    analyzers: Sequence[Analyzer],
    then: Mapping[str, Any],
    *,
    policies: Mapping[str, tuple[Policy, str]],
    tolerance: float,
) -> Rewatched:
    """Watch the video ``data`` again as the record ``then`` says, by its policies and their content types.

    Raises:
        EvidenceInvalid: it has not the frame that the record is about.
        SdkError: it cannot be read here.
    """
    policy, content = policies["decision"]
    footage = _Marked(policy, content, mark=then["video"]["worst"][0]["frame"], tolerance=tolerance)
    shadow = Footage(*policies["shadow"]) if "shadow" in policies else None
    said, frames = then["error"], then["video"]["frames"]
    is_cut = said is not None and said["type"] == LimitExceeded.__name__

    def between() -> None:
        if is_cut and sum(footage.frames.values()) >= frames:
            raise LimitExceeded(said["problem"], remedy=said["remedy"])

    names = {model["name"]: analyzer for model, analyzer in zip(then["models"], analyzers, strict=True)}
    found = watch(data, names, footage=footage, shadow=shadow, between=between)
    if found.error and (not footage.worst or (said is None and isinstance(found.error, LimitExceeded))):
        raise found.error
    if not footage.marked:
        raise EvidenceInvalid(
            f"the video has no frame {footage.mark}, which the record is about",
            remedy="replay it with what wrote the record",
        )
    return Rewatched(found, footage, found.error, known=bool(policy.sha256), is_cut=is_cut)
