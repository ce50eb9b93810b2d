"""Sweeps: each combination of parameters, or each copy of a notebook, is one `mnist-s5 run` in its own folder."""

import glob
import itertools
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from ..files import atomic_write
from .runs import RunError, parse_parameters

ERROR_FILE = "error.txt"  # in a run's folder: why the run failed
Process = subprocess.Popen[str]


class Run(NamedTuple):
    """One run of a sweep."""

    folder: Path
    notebooks: Sequence[Path]
    parameters: dict[str, str]

    def finished(self) -> bool:
        """Return whether the folder holds each notebook, executed with the code that it has now."""
        return all(_code(self.folder / path.name) == _code(path) != [] for path in self.notebooks)


def _code(path: Path) -> list[str]:
    """Return the code of a notebook, without the parameters that papermill added; [] if it cannot be read."""
    import nbformat

    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:  # nbformat raises many types; the run will say what is wrong
        return []
    return [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", ())
    ]


def expand(text: str) -> list[str]:
    """Return the values of a parameter in a sweep: "fast,best" has two, and "1..5" has five.

    Raises:
        RunError: If a range is empty.
    """
    values: list[str] = []
    for part in text.split(","):
        limits = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", part)
        between = range(int(limits[1]), int(limits[2]) + 1) if limits else None
        if between is not None and not between:
            raise RunError(f"The range {part} is empty. Write the smaller number first.")
        values += [part] if between is None else map(str, between)
    return list(dict.fromkeys(values))


def combinations(notebooks: Sequence[Path], pairs: Iterable[tuple[str, str]], out: Path) -> list[Run]:
    """Return a run for each combination of the parameters' values, in a folder such as recipe=fast,seed=1.

    Raises:
        RunError: If a parameter or a value is invalid, or two combinations have the same folder.
    """
    values = {name: expand(text) for name, text in pairs}
    runs = []
    for chosen in itertools.product(*values.values()):
        parameters = dict(zip(values, chosen, strict=True))
        parse_parameters(notebooks, parameters.items())
        name = ",".join(f"{key}={value}" for key, value in parameters.items()) or "run"
        runs.append(Run(out / re.sub(r"[^\w.,=+-]", "_", name), notebooks, parameters))
    return _distinct(runs)


def copies(pattern: str, pairs: Iterable[tuple[str, str]], out: Path) -> list[Run]:
    """Return a run for each notebook that matches the pattern. Its folder is named after the file.

    If files in several folders have the same name, the names of the folders are added. A parameter `student` gets the
    name of the run.

    Raises:
        RunError: If no notebook matches, or two runs have the same folder.
    """
    paths = [Path(path).resolve() for path in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    if not (paths := [path for path in paths if path.suffix == ".ipynb"]):
        raise RunError(f"No notebook matches {pattern}. Put quotes around the pattern, and check the folder.")
    top = Path(os.path.commonpath([path.parent for path in paths]))
    unique = len({path.stem for path in paths}) == len(paths)
    names = [path.stem if unique else "-".join(path.relative_to(top).with_suffix("").parts) for path in paths]
    return _distinct(
        [Run(out / name, [path], {"student": name} | dict(pairs)) for name, path in zip(names, paths, strict=True)]
    )


def _distinct(runs: list[Run]) -> list[Run]:
    if len({run.folder for run in runs}) < len(runs):
        raise RunError("Two runs would have the same folder. Use values that differ in letters or digits.")
    return runs


def execute(run: Run, environment: dict[str, str], timeout: float | None, processes: list[Process]) -> str:
    """Execute a run in its own process and working folder, and return "", or why it failed.

    Args:
        run: What to execute.
        environment: Environment variables to set.
        timeout: Seconds after which the process and its kernel are killed.
        processes: The process is added to this list.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / ERROR_FILE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "mnist_s5", "run", *map(str, run.notebooks), "--out", str(run.folder)]
    for name, value in run.parameters.items():
        command += ["-p", name, value]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=run.folder, env=os.environ | environment, text=True, **pipes)
    processes.append(process)
    try:
        said = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        kill(process)
        process.communicate()
        return f"The run took more than {timeout} seconds."
    _, found, why = said.rpartition("mnist-s5: ")
    return "" if not process.returncode else why.strip() if found else f"Exit status {process.returncode}."


def kill(process: Process) -> None:
    """Kill a process and all processes that it has started, such as the kernel."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def run_here(runs: Sequence[Run], jobs: int, timeout: float | None) -> Iterator[tuple[Run, str]]:
    """Execute the runs on this machine, `jobs` at a time. Yield each one when it ends, with its error or "".

    Each has an equal share of the threads, and one GPU if there are several.
    """
    import torch

    threads, gpus = max(1, torch.get_num_threads() // jobs), torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    processes: list[Process] = []

    def one(run: Run) -> str:
        slot = slots.get()
        gpu = {"CUDA_VISIBLE_DEVICES": visible.split(",")[slot % gpus]} if gpus > 1 else {}
        try:
            return execute(run, {"OMP_NUM_THREADS": str(threads)} | gpu, timeout, processes)
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, run): run for run in runs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:  # if it is interrupted, nothing continues
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                kill(process)


def run_on_ray(runs: Sequence[Run], jobs: int, timeout: float | None, address: str | None) -> Iterator[tuple[Run, str]]:
    """Execute the runs on a Ray cluster, as `run_here` does. Their files are copied to this machine.

    Args:
        runs: What to execute.
        jobs: Number of runs at a time on the smallest node. All runs have as many threads as these. They also get one
            GPU each if the cluster has any.
        address: Where the cluster is. None starts one on this machine.
        timeout: See `execute`.

    Raises:
        RunError: If a node lacks a package, or would use other data than this machine.
    """
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        for source in {run.parameters.get("source", "auto") for run in runs}:
            _check_nodes(source)
        smallest = min(node["Resources"]["CPU"] for node in ray.nodes() if node["Resources"].get("CPU"))
        threads = max(1, int(smallest) // jobs)
        resources = {"num_cpus": threads, "num_gpus": int(ray.cluster_resources().get("GPU", 0) > 0)}
        task = ray.remote(_execute_elsewhere).options(**resources)
        waiting = {}
        for run in runs:
            sources = {path.name: path.read_bytes() for path in run.notebooks}
            waiting[task.remote(run, sources, {"OMP_NUM_THREADS": str(threads)}, timeout)] = run
        while waiting:
            [done], _ = ray.wait(list(waiting))
            run = waiting.pop(done)
            try:
                why, files = ray.get(done)
            except ray.exceptions.RayError as error:  # for example, the node was lost several times
                why, files = f"Ray lost the run ({type(error).__name__}). Start the sweep again.", {}
            for name, blob in files.items():
                atomic_write(run.folder / name, blob)
            yield run, why
    finally:
        ray.shutdown()


def _check_nodes(source: str) -> None:
    """Check that each node has the packages, and the same data as this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from ..data.digits import load_mnist

    def probe(source: str) -> tuple[str, str]:  # Ray sends nested functions with their code, so it needs no package
        try:
            from mnist_s5.data.digits import load_mnist
            from mnist_s5.jobs.doctor import examine

            problems = [line for passed, line in examine() if not passed]
            return load_mnist(source)[0].name, ". ".join(problems)
        except ModuleNotFoundError as error:
            return "", f"{error}. Run there: pip install 'mnist-s5[ray]'"
        except (RuntimeError, OSError) as error:
            return "", str(error)

    ours = load_mnist(source)[0].name
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    tasks = []
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node, soft=False)
        tasks.append(ray.remote(probe).options(num_cpus=0, scheduling_strategy=here).remote(source))
    for where, (theirs, problem) in zip(nodes.values(), ray.get(tasks), strict=True):
        if problem:
            raise RunError(f"The node {where} is not ready: {problem}.")
        if theirs != ours:
            raise RunError(
                f"With source={source}, the node {where} would use the {theirs} digits, and this machine {ours}. "
                "Set MNIST_S5_DATA on each node before you start Ray there, or pass -p source sample."
            )


def _execute_elsewhere(
    run: Run, sources: dict[str, bytes], environment: dict[str, str], timeout: float | None
) -> tuple[str, dict[str, bytes]]:
    """Execute a run in a temporary folder. Return its error or "", and its files."""
    with tempfile.TemporaryDirectory() as place:
        for name, blob in sources.items():
            atomic_write(Path(place, "notebooks", name), blob)
        here = Run(Path(place, "run"), [Path(place, "notebooks", name) for name in sources], run.parameters)
        why = execute(here, environment, timeout, [])
        files = [path for path in here.folder.rglob("*") if path.is_file()]
        blobs = {str(path.relative_to(here.folder)): path.read_bytes() for path in files}
        return why.replace(str(here.folder), str(run.folder)), blobs
