"""A GPU and a TensorRT that are not there: memory is the host's, a stream is a list of work that a wait carries out.

Work is done as late as CUDA may do it, so that whoever reads an answer too early, or writes over an input too soon,
gets a wrong answer here too. The engine answers with the frame's red channel as the heatmap and its mean as the score.
"""

# ruff: noqa: N802, N815  the names are CUDA's
from __future__ import annotations

import ctypes
import enum
import json
from types import ModuleType, SimpleNamespace

import numpy as np

OK, NO_MEMORY, NOT_CAPTURABLE = 0, 2, 900
PLUGIN_NOT_FOUND = SimpleNamespace(
    node_name=lambda: "pool", node_operator=lambda: "ZPool2D", desc=lambda: "Plugin not found"
)


class Gpu:
    """State of the simulated device, and the module ``cuda.bindings.runtime`` for it."""

    def __init__(self, memory: int = 1 << 30) -> None:
        self.memory, self.blocks, self.streams, self.capturing = memory, {}, {}, {}
        self.launches = self.executions = self.fetched = 0
        self.capturable = True
        self.next = 1

    def module(self) -> ModuleType:
        module = ModuleType("cuda.bindings.runtime")
        module.cudaError_t = SimpleNamespace(cudaSuccess=OK, cudaErrorMemoryAllocation=NO_MEMORY)
        module.cudaMemcpyKind = SimpleNamespace(
            cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
        )
        module.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
        module.cudaStreamNonBlocking, module.cudaEventDisableTiming = 1, 2
        for name in dir(self):
            if name.startswith("cuda"):
                setattr(module, name, getattr(self, name))
        return module

    def queue(self, stream: int, work) -> None:
        self.capturing.get(stream, self.streams[stream]).append(work)

    def cudaMalloc(self, size):
        if sum(len(block) for block in self.blocks.values()) + size > self.memory:
            return (NO_MEMORY, None)
        block = (ctypes.c_ubyte * size)()
        address = ctypes.addressof(block)
        self.blocks[address] = block
        return (OK, address)

    def cudaFree(self, address):
        del self.blocks[address]
        return (OK,)

    cudaMallocHost, cudaFreeHost = cudaMalloc, cudaFree

    def cudaStreamCreateWithFlags(self, _flags):
        self.next += 1
        self.streams[self.next] = []
        return OK, self.next

    def cudaStreamDestroy(self, stream):
        del self.streams[stream]
        return (OK,)

    def cudaMemcpyAsync(self, target, source, size, _kind, stream):
        self.queue(stream, lambda: ctypes.memmove(target, source, size))
        return (OK,)

    def cudaMemcpy2DAsync(self, target, to_pitch, source, pitch, length, count, kind, stream):
        def work():
            for row in range(count):
                ctypes.memmove(target + row * to_pitch, source + row * pitch, length)

        if kind == 2:
            self.fetched += count * length
        self.queue(stream, work)
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        work, self.streams[stream] = self.streams[stream], []
        for step in work:
            step()
        return (OK,)

    def cudaDeviceSynchronize(self):
        for stream in list(self.streams):
            self.cudaStreamSynchronize(stream)
        return (OK,)

    def cudaEventCreateWithFlags(self, _flags):
        return OK, SimpleNamespace(stream=None)

    def cudaEventRecord(self, event, stream):
        event.stream = stream
        return (OK,)

    def cudaStreamWaitEvent(self, stream, event, _flags):
        self.queue(stream, lambda: self.cudaStreamSynchronize(event.stream))
        return (OK,)

    def cudaEventDestroy(self, _event):
        return (OK,)

    def cudaStreamBeginCapture(self, stream, _mode):
        self.capturing[stream] = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        work = self.capturing.pop(stream)
        return (OK, work) if self.capturable else (NOT_CAPTURABLE, None)

    def cudaGetLastError(self):
        return (OK,)

    def cudaGraphInstantiate(self, graph, _flags):
        return OK, tuple(graph)

    def cudaGraphDestroy(self, _graph):
        return (OK,)

    cudaGraphExecDestroy = cudaGraphDestroy

    def cudaGraphLaunch(self, executable, stream):
        self.launches += 1
        self.streams[stream].extend(executable)
        return (OK,)


class Location(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class Context:
    """Answers for one engine."""

    def __init__(self, engine) -> None:
        self.engine, self.shapes, self.addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        low, _, high = self.engine.plan["shapes"][name]
        self.shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name):
        count, height, width, _ = self.shapes["frame"]
        return (count,) if name == "score" else (count, height, width)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        shape, addresses, gpu = self.shapes["frame"], dict(self.addresses), self.engine.gpu
        gpu.executions += 1

        def work():
            frame, score, heatmap = (
                np.ctypeslib.as_array(ctypes.cast(addresses[name], ctypes.POINTER(kind)), extent)
                for name, kind, extent in (
                    ("frame", ctypes.c_uint8, shape),
                    ("score", ctypes.c_float, shape[:1]),
                    ("heatmap", ctypes.c_float, shape[:3]),
                )
            )
            heatmap[:] = frame[..., 0] / np.float32(255)
            score[:] = heatmap.mean((1, 2))

        gpu.queue(stream, work)
        return True


class Engine:
    def __init__(self, gpu, plan) -> None:
        self.gpu, self.plan = gpu, plan
        self.names = [*plan["shapes"], *plan["values"], "score", "heatmap"]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return Location.OUTPUT if name in {"score", "heatmap"} else Location.INPUT

    def get_tensor_dtype(self, name):
        return "uint8" if name == "frame" else "float32"

    def is_shape_inference_io(self, name):
        return name == "working_size"

    def create_execution_context(self):
        return Context(self)


class TensorRT:
    """What the module ``tensorrt`` is made of here. Plans are JSON; one of another version is refused.

    So are graphs with plugins, and plans of them, while no library of plugins is loaded.
    """

    def __init__(self, gpu: Gpu, version: str = "11.4.0.106") -> None:
        self.gpu, self.version, self.builds = gpu, version, 0
        self.offset = 0.0
        self.libraries: list[str] = []
        self.loadable = True

    def module(self) -> ModuleType:
        module = ModuleType("tensorrt")
        module.__version__ = self.version
        module.ILogger = module.IProgressMonitor = type("Interface", (), {})
        module.INetworkDefinition = type("INetworkDefinition", (), {"add_plugin_v3": None})
        module.get_plugin_registry = lambda: SimpleNamespace(load_library=self.load_library)
        module.TensorIOMode = Location
        module.nptype = np.dtype
        module.BuilderFlag = SimpleNamespace(TF32=1)
        module.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=self.deserialize)
        module.OnnxParser = lambda network, logger: SimpleNamespace(
            parse_from_file=network.read, num_errors=1, get_error=lambda index: PLUGIN_NOT_FOUND
        )
        module.Builder = lambda logger: Builder(self)
        return module

    def load_library(self, file):
        if not self.loadable:
            return None
        self.libraries.append(file)
        return object()

    def deserialize(self, plan):
        try:
            read = json.loads(plan)
        except ValueError:
            return None
        if read.get("plugins") and not self.libraries:
            return None
        return Engine(self.gpu, read) if read["version"] == self.version else None


class Builder:
    def __init__(self, package: TensorRT) -> None:
        self.package = package

    def create_network(self, _flags):
        return Network(self.package)

    def create_optimization_profile(self):
        shapes, values = {}, {}
        return SimpleNamespace(
            shapes=shapes,
            values=values,
            set_shape=lambda name, *extents: shapes.update({name: extents}),
            set_shape_input=lambda name, *numbers: values.update({name: numbers}),
        )

    def create_builder_config(self):
        config = SimpleNamespace(profiles=[], cleared=[])
        config.clear_flag = config.cleared.append
        config.add_optimization_profile = config.profiles.append
        config.create_timing_cache = lambda content: SimpleNamespace(serialize=lambda: b"timings" + content)
        config.set_timing_cache = lambda cache, ignore_mismatch: True
        return config

    def build_serialized_network(self, network, config):
        self.package.builds += 1
        (profile,) = config.profiles
        config.progress_monitor.phase_start("Building", None, 2)
        for step in range(2):
            config.progress_monitor.step_complete("Building", step)
        config.progress_monitor.phase_finish("Building")
        plan = {"version": self.package.version, "shapes": profile.shapes, "values": profile.values}
        plan["plugins"] = network.has_plugins
        return json.dumps(plan).encode() if network.file else None


class Network:
    """Knows from the graph's name what goes in."""

    def __init__(self, package: TensorRT) -> None:
        self.package, self.file, self.inputs = package, "", []

    @property
    def has_plugins(self):
        return "plugins" in self.file

    def read(self, file):
        self.file = file
        if self.has_plugins and not self.package.libraries:
            return False
        self.inputs = [SimpleNamespace(name="frame", shape=(-1, -1, -1, 3))]
        if "shrunk" in file:
            self.inputs.append(SimpleNamespace(name="working_size", shape=()))
        return True

    @property
    def num_inputs(self):
        return len(self.inputs)

    def get_input(self, index):
        return self.inputs[index]
