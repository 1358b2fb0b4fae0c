"""A Ray cluster of three nodes on this machine: a back-fill that loses one, then a deployment. A process of its own.

    python -m tests.sdk.integrations.ray_cluster ARTIFACT SOURCE OUT

Prints one JSON object with what happened; judging it is the test's.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import ray
import ray.data
from pyarrow import parquet
from ray import serve
from ray.cluster_utils import Cluster

from sdk import __main__ as cli
from sdk.integrations import ray as on_ray

MEMORY = 80 << 20
LIMIT = 180
"""Seconds after which it ends, and says at which line it stood: most of its waits are Ray's."""
PATIENCE = 60
"""Seconds for one answer."""
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def post(data: bytes, *, port: int) -> tuple[int, dict]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=data, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def filled(cluster: Cluster, settings: dict, source: Path, out: Path) -> dict:
    """What ``imdl backfill --ray auto`` tells while a node is killed as soon as some parts are there."""
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = ["backfill", str(source), str(out), "--ray", "auto", *options]
    doomed = min(cluster.worker_nodes, key=lambda node: node.node_id)
    killed: dict[str, int] = {}

    def kill() -> None:
        while len(list(out.glob("*.parquet"))) < 2:
            time.sleep(0.02)  # not for ever: the thread ends with the process, which has its limit
        killed["after"] = len(list(out.glob("*.parquet")))
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    first = verb(command)
    killer.join(PATIENCE)
    assert not killer.is_alive(), "the node was not removed"
    return {"killed_after": killed["after"], "first": first, "again": verb(command)}


def verb(command: list[str]) -> dict:
    """What a verb prints on stdout: JSON, and nothing else."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert cli.main(command) == 0
    return json.loads(said.getvalue())


def alive() -> int:
    """Nodes that are left when the cluster has noticed that one is not."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and all(node["Alive"] for node in ray.nodes()):
        time.sleep(0.5)
    return sum(node["Alive"] for node in ray.nodes())


def mapped(settings: dict, source: Path) -> list[dict]:
    """Rows of a dataset, of which one has a corrupt file, through the class for ``map_batches``."""
    dataset = ray.data.from_arrow(parquet.read_table(source).slice(4, 8))
    found = dataset.map_batches(
        on_ray.AnalyzeBatch,
        fn_constructor_kwargs={"column": "bytes", "settings": settings},
        batch_size=3,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=0.5,  # two CPUs are all there is
    )
    return found.take_all()


def served(settings: dict, files: list[bytes]) -> dict:
    """Some files at a time through a handle, then a good and a bad one over HTTP."""
    (port,) = free_ports(1)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    application = on_ray.deployment(settings=settings, max_batch_size=4, wait_s=0.2)
    handle = serve.run(application)
    answers = [each.result(timeout_s=PATIENCE) for each in [handle.analyze.remote(file) for file in files]]
    posted = [post(file, port=port) for file in files[-2:]]
    return {
        "batches": [each["latency_ms"]["batch"] for each in answers if "error" not in each],
        "errors": [each["error"]["type"] for each in answers if "error" in each],
        "http": [(status, told.get("score"), told.get("error", {}).get("type")) for status, told in posted],
        "scores": [each.get("score") for each in answers],
    }


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def node() -> dict:
    """Settings of one node: small, and with ports of its own, which nothing has to wait for to be found."""
    ports = dict(zip(AGENTS, free_ports(len(AGENTS)), strict=True))
    return {"num_cpus": 1, "object_store_memory": MEMORY, "include_log_monitor": False, **ports}


def main() -> None:
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    artifact, source, out = map(Path, sys.argv[1:])
    settings = {"model": artifact, "backend": "onnxruntime", "decode": "inline"}
    start = time.monotonic()
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **node()})
    try:
        for _ in range(2):
            cluster.add_node(**node())
        print(f"{time.monotonic() - start:.1f} s: three nodes", file=sys.stderr)
        os.environ["RAY_ADDRESS"] = cluster.address
        told = {"backfill": filled(cluster, settings, source, out)}
        print(f"{time.monotonic() - start:.1f} s: back-filled", file=sys.stderr)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        told["mapped"] = mapped(settings, source)
        print(f"{time.monotonic() - start:.1f} s: mapped", file=sys.stderr)
        files = [path.read_bytes() for path in sorted((source.parent / "serving").iterdir())]
        told["serve"] = served(settings, files)
        print(f"{time.monotonic() - start:.1f} s: served", file=sys.stderr)
        told["alive"] = alive()
        print(json.dumps(told))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
