"""``python -m export tensorrt`` and ``python -m export aotinductor``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from export import parity
from export.engines import gate
from export.targets import aotinductor, tensorrt
from sdk import artifact as artifacts
from sdk.artifact import Artifact
from sdk.engines import aoti_backend, gpu, trt, trt_backend
from sdk.engines.profile import LARGEST, SMALLEST, Profile, Sides
from sdk.engines.shipped import home, with_graphs
from sdk.errors import ArtifactInvalid, SdkError

Photographs = Callable[[Path], list[gate.Frame]]
HOME = Path("artifacts")
"""Where ``python -m export onnx`` writes when it is not told where."""
OUT_HELP = "folder of the artifact with the graphs (default: where it is; this user's cache if the model ships)"


def to_tensorrt(args: argparse.Namespace) -> int:
    """Give an artifact graphs for TensorRT, and build engines of them for the GPU that is here, if there is one."""
    found = find(args.artifact)
    photographs, pairs = args.read_photographs(args.photographs), gate.evaluation(args.evaluation)
    wanted, backend = precisions(args, found), trt_backend.Kind(plugins=args.plugins).name
    settings = {"photographs": photographs, "plugins": args.plugins}
    print(f"making the graphs of {found.name} that engines are built of: this takes minutes", file=sys.stderr)
    written = tensorrt.export(with_graphs(found), args.out or home(found), precisions=wanted, **settings)
    print(written.path)
    model = json.dumps(str(written.path) if args.out else found.named)
    try:
        library = trt.load(gpu.target()) if gpu.count() else None
    except SdkError as error:
        library = None
        print(error, file=sys.stderr)
    if library is None or args.no_build:
        load = f'sdk.load({model}, backend="{backend}").warmup()'
        print(f"no engine was built: this verb builds it where the GPU is, and so does {load}", file=sys.stderr)
        return 0
    watch(library.name)
    for precision in wanted:
        frames = {"profile": profile(args), "evaluation": pairs}
        digests, rows = tensorrt.build(written, precision=precision, **frames, **settings)
        print("\n".join(parity.text(row) for row in rows), file=sys.stderr)
        print("\n".join(digests))
    how = f'backend="{backend}"' if args.plugins else 'device="cuda"'
    print(f"sdk.load({model}, {how}) uses what was built", file=sys.stderr)
    return 0


def to_aotinductor(args: argparse.Namespace) -> int:
    """Compile an artifact with the torch that is here, for this machine's CPU or GPU, for frames of given sizes."""
    found = find(args.artifact)
    aotinductor.require(args.device)
    photographs, pairs = args.read_photographs(args.photographs), gate.evaluation(args.evaluation)
    kind = aoti_backend.Kind(plugins=args.plugins)
    offered = kind.precisions(args.device)
    asked = args.precision or [one for one in precisions(args, found) if one in offered]
    if refused := [one for one in asked if one not in offered] or ([] if asked else ["any precision of the model"]):
        raise aotinductor.without_operators(args.device, " or ".join(refused))
    for precision in asked:
        print(f"compiling {found.name} in {precision} for {profile(args).text()}: this takes minutes", file=sys.stderr)
        entry, rows = aotinductor.export(
            found,
            device=args.device,
            precision=precision,
            profile=profile(args),
            photographs=photographs,
            evaluation=pairs,
            plugins=args.plugins,
        )
        print("\n".join(parity.text(row) for row in rows), file=sys.stderr)
        print(entry.key.digest)
    how = f'backend="{kind.name}", device="{args.device}", working_size={args.working_size}'
    print(f"sdk.load({json.dumps(found.named)}, {how}) uses what was compiled", file=sys.stderr)
    return 0


def find(named: str) -> Artifact:
    """The artifact as ``sdk.load`` finds it; by a name that does not ship the one in ``artifacts/``, if it is there."""
    own = HOME / named
    if Path(named).name == named and (own / "contract.json").is_file():
        if named not in artifacts.names():
            return artifacts.read(own)
        print(f"{named} is the model that ships; give the path of the other one: {own}", file=sys.stderr)
    try:
        return artifacts.read(artifacts.find(named))
    except SdkError as error:
        raise ArtifactInvalid(
            error.problem,
            remedy=f"python -m export onnx {Path(named).name}, which makes one; with --checkpoint, if you have one",
        ) from error


def precisions(args: argparse.Namespace, found: Artifact) -> list[str]:
    """What is asked for, or all that the target offers and the model was shown to bear."""
    return args.precision or [one for one in args.offered if one in found.contract.precisions]


def profile(args: argparse.Namespace) -> Profile:
    """The frames that are asked for."""
    size = args.working_size
    if args.frame:
        return Profile.only(*args.frame, batch=args.batch, working_size=size)
    usual = (min(1080, args.largest[0]), min(1920, args.largest[1]))
    sides = {"smallest": args.smallest, "usual": usual, "largest": args.largest}
    return Profile(**sides, batch=args.batch, working_size=size)


def watch(package: str) -> None:
    """Show what a builder tells on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{package}: %(message)s"))
    logger = logging.getLogger("imdl.tensorrt")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def sides(text: str) -> Sides:
    """``1080x1920`` as height and width, px."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def add(verbs: argparse._SubParsersAction, *, photographs: Path, read: Photographs) -> None:
    """Add both verbs to the command line."""
    for run in (to_tensorrt, to_aotinductor):
        name = run.__name__.removeprefix("to_")
        verb = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
        verb.add_argument("artifact", help="name or path of an artifact")
        verb.add_argument("--photographs", type=Path, default=photographs, help="real photographs for the parity gate")
        verb.add_argument("--evaluation", type=Path, help="images with masks: the AUC on them may not fall")
        verb.add_argument("--frame", type=sides, metavar="HxW", help="frames of one size only, which is fastest")
        verb.add_argument("--smallest", type=sides, default=SMALLEST, metavar="HxW", help="least sides, px")
        verb.add_argument("--largest", type=sides, default=LARGEST, metavar="HxW", help="greatest sides, px")
        verb.add_argument("--batch", type=int, default=1, help="greatest number of frames at once")
        verb.add_argument("--plugins", action="store_true", help="with our operators, of a library that was built")
        verb.set_defaults(run=run, read_photographs=read, working_size=None)
        if run is to_tensorrt:
            offered = ["f32", "fp16"]
            verb.add_argument("--out", type=Path, help=OUT_HELP)
            verb.add_argument("--no-build", action="store_true", help="write the graphs only")
        else:
            offered = ["f32", "bf16", "fp16"]
            verb.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
            verb.add_argument("--working-size", type=int, default=0, metavar="PX", help="built in; 0: the frame's own")
        verb.add_argument("--precision", nargs="+", choices=offered, help="default: all that the model is allowed")
        verb.set_defaults(offered=offered)
