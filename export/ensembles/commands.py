"""``python -m export ensemble``: artifacts that ask several models and answer as one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import sdk
from export import artifact as writing
from export.engines.commands import find
from export.ensembles import figures, fit
from export.ensembles.answers import survey
from export.ensembles.fit import Fitted
from sdk import artifact as artifacts
from sdk.contract import Contract, Thresholds
from sdk.errors import ArtifactInvalid
from sdk.members import Member, Terms
from training.card import Card
from training.measure import Plan
from training.provenance import provenance

FAILURES = (
    "fitted on manipulations made by this project's synthesis and on few photographs; what others do differs",
    "fails where all of its models do, and takes as long as all of them together; a cascade where it asks them all",
)


def to_ensemble(args: argparse.Namespace) -> int:
    """Fit an ensemble and a cascade of artifacts on held-out photographs, and write both as artifacts.

    Weights, band and thresholds are fitted on samples made of the held-out photographs and on these as they are;
    figures are of halves that were not fitted on. The members have to lie in --out, or ship.
    """
    with ExitStack() as held:
        loaded = [held.enter_context(sdk.load(find(name).path, threads=args.threads)) for name in args.members]
        check(loaded, args.out)
        plan = Plan(photographs=args.photographs, samples=args.count, size=args.size, video=not args.without_video)
        found = survey(loaded, plan)
        order = np.argsort(found.costs, kind="stable").tolist()
        loaded, found = [loaded[place] for place in order], found.ordered(order)
        told = {"held_out": figures.held_out(found, loaded, found.costs), "machine": provenance()}
        for name, fitted in fit.both(found, found.costs).items():
            card = card_of(loaded, fitted, told | {"false_positives": fitted.bounds}, version=args.version)
            write(args.out / name, loaded, fitted, card)
            print(args.out / name)
    return 0


def check(analyzers: Sequence[sdk.Analyzer], out: Path) -> None:
    """Refuse members that are not several, or that ``sdk.load`` would not find from ``out``."""
    names = [analyzer.artifact.contract.name for analyzer in analyzers]
    if len(set(names)) < max(2, len(names)):
        raise ArtifactInvalid("an ensemble is of two models or more", remedy="name each of them once")
    for analyzer in analyzers:
        found = analyzer.artifact
        if (found.path / artifacts.MEMBERS).is_file():
            raise ArtifactInvalid(f"{found.name} is an ensemble itself", remedy="name the models that it asks")
        beside = out / found.contract.name
        if found.path != beside.resolve() and (beside.exists() or found.path.parent != artifacts.SHIPPED):
            raise ArtifactInvalid(
                f"{found.name} lies in {found.path.parent}, and its ensemble would look for it in {out}",
                remedy="copy it there, or name the folder with --out",
            )


def card_of(analyzers: Sequence[sdk.Analyzer], fitted: Fitted, figures: dict[str, object], *, version: str) -> Card:
    """The card of an ensemble; a preview if one of its models is."""
    terms = [analyzer.artifact.contract for analyzer in analyzers]
    size = working_size(analyzers)
    return Card(
        status="preview" if any(one.status == "preview" for one in terms) else "release",
        version=version,
        working_size=size,
        thresholds={str(size): {"photographs": fitted.photographs, "video": fitted.video}},
        mask_threshold=fitted.mask_threshold,
        licence=" and ".join(sorted({one.licence for one in terms})),
        commercial_use=all(one.commercial_use for one in terms),
        training_data="; ".join(dict.fromkeys(one.training_data for one in terms)),
        figures=figures,
        known_failures=FAILURES,
    )


def working_size(analyzers: Sequence[sdk.Analyzer]) -> int:
    """The largest at which one of the models analyses, px; 0, the frame's own, is larger than any."""
    sizes = [analyzer.working_size for analyzer in analyzers]
    return 0 if 0 in sizes else max(sizes)


def write(target: Path, analyzers: Sequence[sdk.Analyzer], fitted: Fitted, card: Card) -> None:
    """Write the artifact, which holds no graph and no weight."""
    loaded = [analyzer.artifact for analyzer in analyzers]
    terms = [one.contract for one in loaded]
    members = Terms(
        members=tuple(
            Member(name=one.contract.name, artifact=one.digest, working_size=analyzer.working_size)
            for one, analyzer in zip(loaded, analyzers, strict=True)
        ),
        stages=fitted.stages,
    )
    precisions = tuple(one for one in terms[0].precisions if all(one in other.precisions for other in terms))
    files = {
        artifacts.MEMBERS: members.to_json().encode(),
        "card.md": card.to_markdown(target.name, precisions).encode(),
    }
    contract = Contract(
        name=target.name,
        version=card.version,
        model="ensemble of " + ", ".join(one.name for one in terms),
        settings={},
        status=card.status,
        graphs={},
        plan=(),
        working_size=card.working_size,
        thresholds={size: Thresholds(**levels) for size, levels in card.thresholds.items()},
        mask_threshold=card.mask_threshold,
        minimum_side=max(one.minimum_side for one in terms),
        minimum_quality=max(one.minimum_quality for one in terms),
        precisions=precisions,
        licence=card.licence,
        commercial_use=card.commercial_use,
        training_data=card.training_data,
        citation="; ".join(dict.fromkeys(one.citation for one in terms)),
        commit=writing.commit(),
        sha256={name: writing.digest(content) for name, content in files.items()},
    )
    writing.write(target, files, contract)


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    verb = verbs.add_parser(
        "ensemble", help=str(to_ensemble.__doc__).split("\n", 1)[0], description=to_ensemble.__doc__
    )
    verb.add_argument("members", nargs="+", help="names or paths of artifacts")
    verb.add_argument("--photographs", type=Path, required=True, help="folder, of which what is held out is used")
    verb.add_argument("--out", type=Path, default=Path("artifacts"), help="folder for ensemble/ and cascade/")
    verb.add_argument("--count", type=int, default=240, help="samples")
    verb.add_argument("--size", type=int, default=Plan.size, help="side of a third of the samples, px")
    verb.add_argument("--version", default="0.1")
    verb.add_argument("--threads", type=int, help="of the runtime")
    verb.add_argument("--without-video", action="store_true", help="no thresholds for video, no PyAV")
    verb.set_defaults(run=to_ensemble)
