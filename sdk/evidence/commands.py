"""The verbs ``record``, ``verify``, ``replay``, ``report`` and ``capacity``: what records are good for."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sdk.errors import BadSetting, DecodeFailed, EvidenceInvalid
from sdk.options import in_words

if TYPE_CHECKING:
    from sdk.evidence.replay import Replayed

    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

SAME, DIFFERENT, FAILED = 0, 1, 2
_RECORDS = "give a file of records: imdl record PHOTO > records.jsonl"
_SHA256 = re.compile("[0-9a-f]{64}")


def record(args: argparse.Namespace) -> int:
    """Examine files by a policy and print one record of evidence for each, chained and, with --sign, signed.

    Exit code: 2 if a file could not be read from disk, else 1 if one is to be reviewed or blocked, else 0.
    """
    from sdk.evidence.chain import Signer, seal
    from sdk.evidence.record import digest
    from sdk.examiner import opened

    signer = Signer.read(args.sign) if args.sign else None
    status, previous = SAME, _digest(args.previous)
    with opened(args.model or [None], policy=args.policy, shadow=args.shadow) as examiner:
        if len(args.paths) > 1:  # else the first one's time, from which capacity is told, is that of a start
            examiner.warmup()
        for path in args.paths:
            try:
                data = _content(path)
            except DecodeFailed as error:
                print("\n  -> ".join(in_words(error)), file=sys.stderr)
                status = FAILED
                continue
            found = examiner.examine(data, content=args.content)
            text = seal(found.record, previous=previous, signer=signer)
            print(text, flush=True)
            previous = digest(text)
            status = max(status, DIFFERENT if found.decision.action != "pass" else SAME)
    return status


def verify(args: argparse.Namespace) -> int:
    """Check that a file of records is a chain, and with --key that each was signed; say what was left unchecked.

    Exit code: 2 if there is nothing to be checked, or no key to do it with, else 1 if a check fails, else 0.
    """
    from sdk.evidence import keys
    from sdk.evidence.chain import check_chain, check_signature
    from sdk.evidence.record import loads

    previous, key = _digest(args.previous), keys.public(args.key) if args.key else None
    texts = _records(args.records)
    if not texts:
        raise EvidenceInvalid(f"{args.records} holds no record", remedy=_RECORDS)
    signed = 0
    try:
        for number, text in enumerate(texts, 1):
            with _counted(number):
                found = loads(text)
                signed += isinstance(found.get("signature"), dict)
                if key:
                    check_signature(found, key)
        last = check_chain(texts, previous=previous)
    except EvidenceInvalid as error:
        print("\n  -> ".join(in_words(error)), file=sys.stderr)
        return DIFFERENT
    checked = ["chain", "signatures"] if key else ["chain"]
    unchecked = [] if key else [_unsigned(signed, len(texts))]
    if previous is None:
        unchecked.append("whether records came before the first: --previous says after which it has to come")
    unchecked.append("whether the end was cut off: compare `last` with what you know of it")
    print(json.dumps({"records": len(texts), "signed": signed, "last": last, "checked": checked}))
    print("\n".join(f"not checked: {each}" for each in unchecked), file=sys.stderr)
    return SAME


def _unsigned(signed: int, records: int) -> str:
    """What a chain without a key says."""
    if not signed:
        return "who wrote the records: none is signed, and a chain can be written anew by anybody (imdl record --sign)"
    return f"signatures, which {signed} of {records} bear: give the public key, --key public.pem"


@contextlib.contextmanager
def _counted(number: int) -> Iterator[None]:
    """Errors that name the record."""
    try:
        yield
    except EvidenceInvalid as error:
        raise EvidenceInvalid(f"record {number}: {error.problem}", remedy=error.remedy) from error


def replay(args: argparse.Namespace) -> int:
    """Make the examination of a record again and tell whether all that comes out is what the record says.

    One line for each model: what `differs`, and what was left `unchecked` and why. Scores and heatmaps may differ as
    far as the artifact's gate found. No file can tell when and where a record was made: imdl verify --key.

    Exit code: 2 if it cannot be made, else 1 if something differs or is unchecked, else 0.
    """
    _, found = _again(args)
    for each in found:
        print(json.dumps(each.to_dict()))
    return SAME if all(each.matches for each in found) else DIFFERENT


def report(args: argparse.Namespace) -> int:
    """Write a page about a record and its file that needs no other file: the same page whenever it is made.

    The examination is made again, and the page begins with what differs. Exit code: as that of imdl replay.
    """
    from sdk.evidence.report import page

    text, found = _again(args)
    out = args.out or args.record.with_suffix(".html")
    try:
        out.write_bytes(page(text, found).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise BadSetting(
            f"{out} cannot be written: {error.strerror}", remedy="name another file: --out HTML"
        ) from error
    print(out)
    return SAME if all(each.matches for each in found) else DIFFERENT


def _again(args: argparse.Namespace) -> tuple[str, list[Replayed]]:
    """The text of a record and its replay."""
    from sdk.evidence.record import loads
    from sdk.evidence.replay import replay as again
    from sdk.policy_file import find

    text, policies = _one(args.record), [find(policy) for policy in args.policy or []]
    return text, again(loads(text), _content(args.file), artifacts=_paths(args.model), policies=policies)


def capacity(args: argparse.Namespace) -> int:
    """Tell how many machines a load needs, from the times in records that this machine wrote; the steps to stderr."""
    from sdk.capacity import capacity as needed
    from sdk.evidence.record import loads

    times = []
    for number, text in enumerate(_records(args.records), 1):
        with _counted(number):
            total = loads(text)["timing_ms"].get("total")
            if not isinstance(total, int | float):
                raise EvidenceInvalid("it does not tell how long it took", remedy=_RECORDS)
            times.append(float(total))
    rate, patience = _number(args.target, "target", "img/s"), _number(args.p99, "p99", "ms")
    found = needed(times, per_second=rate, p99_ms=patience, workers=args.workers)
    print("\n".join(found.arithmetic), file=sys.stderr)
    told = {"machines": found.machines, "utilisation": found.utilisation, "wait_ms": found.wait_ms}
    print(json.dumps(told | {"p99_ms": found.p99_ms}))
    return SAME


def add(verbs: Verbs, verb: Callable[[Verbs, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]) -> None:
    """Add the verbs; ``verb`` makes one of a function."""
    examining = verb(verbs, record)
    examining.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file")
    examining.add_argument("--model", action="append", help="name or path of an artifact; may be given several times")
    examining.add_argument("--policy", help="name or path of a policy (default: default)")
    examining.add_argument("--shadow", help="a second policy, whose decisions are recorded and have no effect")
    examining.add_argument("--content", default="default", help="content type, one of the policy's (default: default)")
    examining.add_argument("--sign", type=Path, metavar="KEY", help="PEM file of an Ed25519 private key")
    checking = verb(verbs, verify)
    checking.add_argument("records", type=Path, metavar="RECORDS", help="file with one record on each line")
    checking.add_argument("--key", type=Path, help="PEM file of the public key that they were signed with")
    for chained in (examining, checking):
        chained.add_argument("--previous", metavar="SHA256", help="digest of the record before the first")
    for repeating in (verb(verbs, replay), verb(verbs, report)):
        repeating.add_argument("record", type=Path, metavar="RECORD", help="file with one record")
        repeating.add_argument("file", type=Path, metavar="FILE", help="the file that was examined")
        repeating.add_argument("--model", action="append", metavar="NAME=PATH", help="an artifact that does not ship")
        repeating.add_argument("--policy", action="append", metavar="PATH", help="a policy that does not ship")
        if repeating.get_default("run") is report:
            repeating.add_argument("--out", type=Path, metavar="HTML", help="default: beside the record")
    planning = verb(verbs, capacity)
    planning.add_argument("records", type=Path, metavar="RECORDS", help="20 or more, each on a line: imdl record")
    planning.add_argument("--target", required=True, metavar='"N img/s"', help="uploads a second, on average")
    planning.add_argument("--p99", required=True, metavar="Nms", help="time within which 99 of 100 are answered")
    planning.add_argument("--workers", type=int, default=1, help="examined at once on one machine (default: 1)")


def _content(path: Path) -> bytes:
    """The bytes of the file at ``path``."""
    from sdk.decoding import open_file

    with open_file(path, str(path)) as file:
        try:
            return file.read()
        except OSError as error:
            raise DecodeFailed(f"{path} cannot be read: {error.strerror}", remedy="check the disk") from error


def _digest(text: str | None) -> str | None:
    """A digest as records hold it, if one is given."""
    if text is None:
        return None
    if not _SHA256.fullmatch(text.lower()):
        raise BadSetting(f"--previous {text} is no SHA-256", remedy="give its 64 hexadecimal digits")
    return text.lower()


def _number(text: str, name: str, unit: str) -> float:
    """The number in "200 img/s" or "200"."""
    try:
        return float(text.strip().removesuffix(unit))
    except ValueError as error:
        raise BadSetting(f"--{name} {text} is no number", remedy=f'give --{name} "200 {unit}"') from error


def _records(path: Path) -> list[str]:
    """The lines of the file at ``path``."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise EvidenceInvalid(f"{path} cannot be read: {error.strerror}", remedy=_RECORDS) from error
    return [line for line in text.splitlines() if line]


def _one(path: Path) -> str:
    """The only record in the file at ``path``."""
    lines = _records(path)
    if len(lines) != 1:
        raise EvidenceInvalid(f"{path} holds {len(lines)} records", remedy="give a file with one line, one record")
    return lines[0]


def _paths(named: list[str] | None) -> dict[str, Path]:
    """NAME=PATH of artifacts that do not ship with the package."""
    pairs = [text.partition("=") for text in named or []]
    wrong = [name for name, _, path in pairs if not path]
    if wrong:
        raise BadSetting(f"--model {wrong[0]} has no path", remedy="give --model NAME=PATH")
    return {name: Path(path) for name, _, path in pairs}
