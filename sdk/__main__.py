"""The command line, ``imdl`` or ``python -m sdk``: stdout is for machines, stderr for people, the exit code answers."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import sdk
from sdk import bar, options
from sdk.engines import commands as engines
from sdk.errors import BadSetting, SdkError, UnknownName
from sdk.evidence import commands as evidence
from sdk.integrations import commands as integrations
from sdk.overlay_mark import is_overlay
from sdk.paths import Skipped, check_not_a_folder, expand, make, overlay_path, shown
from sdk.pillow import readable
from sdk.serve import commands as service
from sdk.streaming import commands as streaming

FAILED, FOUND, CLEAN = 2, 1, 0
INTERRUPTED = 130
"""What shells say of a program that Ctrl-C ended."""


def analyze(args: argparse.Namespace) -> int:
    """Analyse files, folders and globs: one line for each file, or with --model all for each file and model.

    Of a folder, what has the suffix of an image is analysed. Overlays that imdl wrote never are. What was skipped is
    told on stderr.

    Exit code: 2 if a file, or a model, failed, else 1 if one is judged manipulated or suspicious, else 0.
    """
    status, skipped = CLEAN, Skipped()
    paths = expand(args.paths, skipped)
    if args.save:
        make(args.save)
    with loaded_all(args) if args.model == "all" else loaded(args) as analyzer:
        for path in progress(paths, sys.stderr):
            if is_overlay(path):
                skipped["overlay that imdl wrote"] += 1
                continue
            try:
                check_not_a_folder(path)
                analysis = analyzer.analyze(path, progress=bar.tiles(shown(path.name), sys.stderr))
                saved = analysis.save_overlay(overlay_path(args.save, path)) if args.save else None
            except (SdkError, OSError) as error:
                status = FAILED
                print_failure(path, error, as_json=args.json)
                continue
            status = max(status, answer(analysis))
            if args.json:
                line = {"path": str(path), **analysis.to_dict()}
                print(json.dumps(line | {"overlay": str(saved)} if saved else line), flush=True)
                continue
            for one, mark in by_model(analysis):
                print(f"{one.verdict.name}\t{one.score:.3f}\t{shown(path)}{mark}", flush=True)
                if one.verdict.name == "inconclusive":
                    print(f"{readable(str(path))}: {one.verdict.reason}", file=sys.stderr)
            for model, reason in failures(analysis).items():
                print(f"failed\t-\t{shown(path)}\t{model}", flush=True)
                told = "\n  -> ".join(options.in_words(reason))
                print(f"{shown(path)}, {model}: {told}", file=sys.stderr)
    if skipped:
        print(shown(str(skipped)), file=sys.stderr)
    return status


def answer(analysis: sdk.Analysis | sdk.Agreement) -> int:
    """The exit code for one file."""
    if failures(analysis):
        return FAILED
    return FOUND if any(one.verdict.found for one, _ in by_model(analysis)) else CLEAN


def failures(analysis: sdk.Analysis | sdk.Agreement) -> Mapping[str, SdkError]:
    """Models that could not answer, and why."""
    return analysis.failures if isinstance(analysis, sdk.Agreement) else {}


def by_model(analysis: sdk.Analysis | sdk.Agreement) -> list[tuple[sdk.Analysis, str]]:
    """Every analysis and what its line ends with: of several models the name."""
    if isinstance(analysis, sdk.Agreement):
        return [(one, f"\t{model}") for model, one in analysis.analyses.items()]
    return [(analysis, "")]


def doctor(args: argparse.Namespace) -> int:
    """Tell what is installed, what an analysis would run on and why on nothing else. Exit code 2 if it cannot run."""
    from sdk.doctor import report

    lines, healthy = report(args.model)
    print("\n".join(lines))
    return CLEAN if healthy else FAILED


def models(args: argparse.Namespace) -> int:
    """List the models that ship with the package, or verify their files (or those of an artifact) by SHA-256."""
    from sdk import artifact

    status = CLEAN
    for model in [args.model] if args.model else artifact.names():
        try:
            found = artifact.read(artifact.find(model))
        except SdkError as error:
            status = FAILED
            print(f"{model}\t{'no such artifact' if isinstance(error, UnknownName) else 'damaged'}")
            print(error, file=sys.stderr)
            continue
        terms = found.contract
        use = "commercial use allowed" if terms.commercial_use else "no commercial use"
        fact = f"verified\t{found.digest}" if args.action == "verify" else f"{terms.status}\t{terms.licence}, {use}"
        print(f"{terms.name}\t{terms.version}\t{fact}")
    return status


def demo(args: argparse.Namespace) -> int:
    """Analyse the photographs that come with the package and print what was found beside the truth."""
    samples = Path(sdk.__file__).parent / "samples"
    right = 0
    entries = json.loads((samples / "samples.json").read_text(encoding="utf-8"))
    with loaded(args) as analyzer:
        for entry in entries:
            analysis = analyzer.analyze(samples / entry["file"])
            verdict = analysis.verdict  # one that is inconclusive is right about nothing
            as_it_is = verdict.name == "no_evidence" if entry["kind"] == "authentic" else verdict.found
            right += as_it_is
            saved = analysis.save_overlay(args.save / f"{Path(entry['file']).stem}.jpg")
            print(
                f"{'right' if as_it_is else 'WRONG'}  truth {entry['kind']:<12} {verdict.name:<12} "
                f"score {analysis.score:.3f}  {entry['title']} ({saved})",
                flush=True,
            )
    print(f"{right} of {len(entries)} right; overlays are in {args.save}/", file=sys.stderr)
    return CLEAN


def loaded(args: argparse.Namespace) -> sdk.Analyzer:
    """The Analyzer that the options ask for; preview weights are announced."""
    analyzer = sdk.load(args.model, backend=args.backend, **options.settings(args))
    announce(analyzer)
    return analyzer


def loaded_all(args: argparse.Namespace) -> sdk.Analyzers:
    """All shipped models, as the options ask; those that cannot be loaded are failures of every file."""
    if args.backend:
        raise BadSetting("--backend is of one model, not of all", remedy="leave it out, or name the model")
    analyzers = sdk.load_all(**options.settings(args))
    for analyzer in analyzers.analyzers.values():
        announce(analyzer)
    return analyzers


def announce(analyzer: sdk.Analyzer) -> None:
    """Say that weights are a preview."""
    terms = analyzer.artifact.contract
    if terms.status == "preview":
        print(f"{terms.name} {terms.version} has PREVIEW weights: its verdicts are a demonstration", file=sys.stderr)


def print_failure(path: Path, error: SdkError | OSError, *, as_json: bool) -> None:
    """A failed file's line, and its reason for people."""
    if isinstance(error, SdkError):
        problem, remedy = options.in_words(error)
    else:  # decoding has typed errors only
        problem, remedy = f"the overlay cannot be written: {error}", "name another folder: --save DIR"
    if as_json:
        failure = {"type": type(error).__name__, "problem": problem, "remedy": remedy}
        print(json.dumps({"path": str(path), "error": failure}), flush=True)
        return
    print(f"failed\t-\t{shown(path)}", flush=True)
    name = readable(str(path))
    subject = "" if problem.startswith(name) else f"{name}: "
    print(f"{subject}{problem}\n  -> {remedy}", file=sys.stderr)


def progress(paths: Sequence[Path], terminal: TextIO) -> Iterator[Path]:
    """The paths; on a terminal with a bar below whatever else is printed."""
    for done, path in enumerate(paths):
        if terminal.isatty() and len(paths) > 1:
            terminal.write(f"\r{bar.drawn(done / len(paths))} {done}/{len(paths)} {shown(path.name)[:40]:<40}\r")
            terminal.flush()
        yield path
    if terminal.isatty() and len(paths) > 1:
        terminal.write(f"{'':<90}\r")


def parser() -> argparse.ArgumentParser:
    """The verbs and their options; the functions' docstrings are the help."""
    top = argparse.ArgumentParser(prog="imdl", description="Find manipulated images, and where they were manipulated.")
    top.add_argument("--version", action="version", version=sdk.__version__)
    verbs = top.add_subparsers(required=True, metavar="VERB")
    many = verb(verbs, analyze)
    many.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or glob")
    many.add_argument("--json", action="store_true", help="JSON lines, as sdk/analysis.schema.json describes")
    many.add_argument("--save", type=Path, metavar="DIR", help="write an overlay of each file into this folder")
    options.add(many)
    shown = verb(verbs, demo)
    shown.add_argument("--save", type=Path, metavar="DIR", default=Path("overlays"), help="folder (default: overlays)")
    options.add(shown)
    verb(verbs, doctor).add_argument("--model", help="name or path of the artifact that is to run")
    listed = verb(verbs, models)
    listed.add_argument("action", choices=["list", "verify"], nargs="?", default="list")
    listed.add_argument("model", nargs="?", help="name or path of one artifact (default: all that ship)")
    engines.add(verbs, verb)
    evidence.add(verbs, verb)
    integrations.add(verbs, verb)
    service.add(verbs, verb)
    streaming.add(verbs, verb, loaded)
    return top


def verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a verb whose name, help and deed are one function."""
    added = verbs.add_parser(
        run.__name__,
        help=str(run.__doc__).split("\n", maxsplit=1)[0],
        description=run.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run)
    return added


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; the exit code is its answer."""
    for stream in ("stdout", "stderr"):  # None where the caller closed it, and print would take stdout for stderr
        if getattr(sys, stream) is None:
            setattr(sys, stream, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be text: they leave as they came
    try:
        status = int(args.run(args))
        sys.stdout.flush()  # here, where a reader that left is no surprise
        return status
    except BrokenPipeError:  # the reader of stdout left; what Python would flush at exit has no reader either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except SdkError as error:
        print("\n  -> ".join(options.in_words(error)), file=sys.stderr)
        return FAILED
    except OSError as error:  # an overlay that cannot be written, or whatever else is named
        name = readable(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else ""
        problem = f"{name}: {error.strerror}" if name and error.strerror else readable(error)
        print(f"{problem}\n  -> check the path, and who may read and write there", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
