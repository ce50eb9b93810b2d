"""Sweeps: one `mnist-s5 run` per combination of parameter values, or per notebook, each in its own folder."""

import itertools
import logging
import math
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from subprocess import run as call
from typing import Any, NamedTuple

from ..data.digits import load_mnist
from ..files import atomic_write
from ..metrics import sha256, source_sha256
from .parameters import RunError, declared, parameter_types, parse_parameters, read_notebook, to_text
from .runs import ERROR_FILE, is_interrupted, matches

MAX_RUNS = 10_000
ANSWER = 30  # seconds in which a Ray cluster has to answer
LOG_FILE = "log.txt"  # in a run's folder: what `mnist-s5 run` wrote to standard error


class Run(NamedTuple):
    """One run of a sweep: where it writes, what it executes, and the parameters as on the command line."""

    folder: Path
    notebooks: Sequence[Path]
    parameters: dict[str, str]

    def finished(self) -> bool:
        """Return whether each notebook in the folder was executed with its current code and these parameters.

        Changes in the package or the data are not noticed.
        """
        if (self.folder / ERROR_FILE).exists() or is_interrupted(self.folder):
            return False
        try:
            types = parameter_types(self.notebooks, bool(self.parameters))
            values = parse_parameters(types, self.parameters.items())
        except RunError:  # the run will say what is wrong
            return False
        pairs = zip(self.notebooks, values, strict=True)
        return all(_was_executed(self.folder / path.name, path, expected) for path, expected in pairs)


Results = Generator[tuple[Run, str], None, None]  # each run when it ends, with its error or ""


def _code(path: Path) -> list[str]:
    """Return the code of a notebook, without the parameters that papermill added; [] if it cannot be read."""
    try:
        cells = read_notebook(path).cells
    except RunError:  # the run will say what is wrong
        return []
    return [cell.source for cell in cells if cell.cell_type == "code"]


def _was_executed(result: Path, notebook: Path, parameters: dict[str, Any]) -> bool:
    """Return whether a result is this notebook, executed by papermill with these parameters."""
    code = _code(notebook)
    if not code or _code(result) != code:
        return False
    passed = read_notebook(result).metadata.get("papermill", {}).get("parameters", {})
    return {name: value for name, value in passed.items() if name != "run_dir"} == parameters


def expand(text: str) -> list[str]:
    """Return the values of a parameter in a sweep: "fast,best" has two, and "1..5" has five.

    Commas in brackets do not separate values.

    Raises:
        RunError: If a range is empty, a value between commas is missing, or there are more than MAX_RUNS values.
    """
    values: list[str] = []
    parts = [part.strip() for part in re.split(r",(?![^(\[{]*[)\]}])", text)]
    if len(parts) > 1 and "" in parts:
        raise RunError(f"A value is missing in {text!r}. Remove the extra comma.")
    for part in parts:
        found = [part]
        if limits := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", part):
            first, last = int(limits[1]), int(limits[2])
            if first > last:
                raise RunError(f"The range {part} is empty. Write the smaller number first.")
            _check_number(last - first + 1)
            found = [*map(str, range(first, last + 1))]
        values += found
    return list(dict.fromkeys(values))


def _check_number(runs: int) -> None:
    if runs > MAX_RUNS:
        raise RunError(f"The sweep would have {runs:,} runs. At most {MAX_RUNS:,} are allowed. Split it.")


def _values(types: Sequence[dict[str, str]], name: str, text: str) -> list[str]:
    """Return the different values of a parameter, written the same way for equal values."""
    parsed = [parse_parameters(types, [(name, each)]) for each in expand(text)]
    found = (next(values[name] for values in of_notebooks if name in values) for of_notebooks in parsed)
    return list(dict.fromkeys(map(to_text, found)))


def combinations(notebooks: Sequence[Path], pairs: Sequence[tuple[str, str]], out: Path) -> list[Run]:
    """Return a run for each combination of the parameters' values, in a folder such as recipe=fast,seed=1.

    The folders do not depend on the order of the parameters, nor on how a number is written.

    Raises:
        RunError: If a parameter or a value is invalid, there are more than MAX_RUNS combinations, or two of them would
            have the same folder.
    """
    names = sorted({name for name, _ in pairs})
    texts = {name: ",".join(text for other, text in pairs if other == name) for name in names}
    types = parameter_types(notebooks, bool(pairs))
    values = {name: _values(types, name, text) for name, text in texts.items()}
    _check_number(math.prod(map(len, values.values())))
    chosen = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    return _with_distinct_folders([Run(out / _name(parameters), notebooks, parameters) for parameters in chosen])


def _name(parameters: dict[str, str]) -> str:
    """Return the name of a run's folder, such as recipe=fast,seed=1."""
    return ",".join(f"{name}={_for_file_name(value)}" for name, value in parameters.items()) or "run"


def _for_file_name(value: str) -> str:
    """Replace characters that a file name should not have, and shorten it. Then add a hash, so values stay distinct."""
    plain = re.sub(r"[^\w.+-]", "_", value)[:60]
    return plain if plain == value else f"{plain}-{sha256(value.encode())[:6]}"


def each_notebook(pattern: str, pairs: Sequence[tuple[str, str]], out: Path) -> list[Run]:
    """Return a run for each notebook that matches the pattern, in a folder with the name of the file.

    The names of folders that match a wildcard are added. The parameter `student`, if the notebook has it, is set to the
    name.

    Raises:
        RunError: If no notebook matches, a parameter has several values, or two runs would have the same folder.
    """
    if several := [name for name, text in pairs if len(expand(text)) > 1]:
        raise RunError(f"{several[0]} has several values. With --each, pass one.")
    pattern = os.path.abspath(os.path.expanduser(pattern))
    top = next(folder for folder in Path(pattern).parents if folder.is_dir())  # the folder before the first wildcard
    found = [Path(path) for path in matches(pattern) if path.endswith(".ipynb")]
    runs, given = [], {name: expand(text)[0] for name, text in sorted(pairs)}
    for path in found:
        name = "-".join(path.relative_to(top).with_suffix("").parts)
        student = {"student": name} if any("student" in declared(code) for code in _code(path)) else {}
        if not (out in path.parents and (path.parent / LOG_FILE).exists()):  # otherwise, an earlier sweep wrote it
            runs.append(Run(out / (f"{name},{_name(given)}" if given else name), [path], student | given))
    if not runs:
        raise RunError(f"No notebook matches {pattern}. Put quotes around the pattern, and check the folder.")
    return _with_distinct_folders(runs)


def _with_distinct_folders(runs: list[Run]) -> list[Run]:
    if len({str(run.folder).casefold() for run in runs}) < len(runs):
        raise RunError(
            "Two runs would have the same folder. Use values, or file names, that differ in letters or digits."
        )
    return runs


def execute(
    runs: Sequence[Run], slots: Sequence[dict[str, str]], timeout: float | None, options: Sequence[str] = ()
) -> Results:
    """Execute each run in its own process. Yield it when it ends, with its error or "".

    The working folder is this process's, so relative paths in parameters mean the same as in `mnist-s5 run`.

    Args:
        runs: What to execute.
        slots: The environment variables of the runs that are executed at the same time: one dict for each of them.
        timeout: Seconds after which a run and all processes that it has started are killed. None sets no limit.
        options: Further words for `mnist-s5 run`, such as --cell-timeout.
    """
    waiting, active = list(runs), dict[int, tuple[Run, Popen[bytes], float]]()
    try:
        while waiting or active:
            for slot, environment in enumerate(slots):
                if waiting and slot not in active:
                    run = waiting.pop(0)
                    active[slot] = run, _start(run, environment, options), time.monotonic() + (timeout or math.inf)
            time.sleep(0.1)
            for slot, (run, process, deadline) in list(active.items()):
                if (status := process.poll()) is not None:
                    error = _message(run, status)
                elif time.monotonic() > deadline:
                    kill(process)
                    error = f"The run took more than {timeout} seconds."
                else:
                    continue
                del active[slot]
                yield run, error
    finally:  # if the sweep is interrupted, no run continues
        for _, process, _ in active.values():
            kill(process)


def _start(run: Run, environment: dict[str, str], options: Sequence[str]) -> Popen[bytes]:
    run.folder.mkdir(parents=True, exist_ok=True)
    # -P: a file of the working folder, such as types.py, must not hide a module of Python.
    command = [sys.executable, "-P", "-m", "mnist_s5", "run", *map(str, run.notebooks), *options]
    command += ["--out", str(run.folder)]
    command += [word for pair in run.parameters.items() for word in ("-p", *pair)]
    with (run.folder / LOG_FILE).open("wb") as log:  # not a pipe: a process that is left behind would keep it open
        return Popen(command, env=os.environ | environment, stdin=DEVNULL, stdout=DEVNULL, stderr=log)


def _message(run: Run, status: int) -> str:
    """Return why a run failed, or "" if it did not."""
    if not status:
        return ""
    log, text = run.folder / LOG_FILE, ""
    with suppress(OSError):  # the notebook may have removed it
        text = log.read_text(errors="replace")
    _, found, message = text.rpartition("mnist-s5: ")
    if not log.exists():
        return "The notebook has removed its run's folder. Look at its code before you run it again."
    return (message.strip() if found else "") or f"Exit status {status} (see {log})."


def kill(process: Popen[bytes]) -> None:
    """Kill a process and all processes that it has started, such as the kernel, and wait until they have ended."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [*parent.children(recursive=True), parent]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=5)


def run_here(runs: Sequence[Run], jobs: int, timeout: float | None, options: Sequence[str] = ()) -> Results:
    """Execute the runs on this machine, `jobs` at a time. Each has an equal share of the threads, and one GPU if there
    are several. See `execute`."""
    import torch

    gpus, threads = torch.cuda.device_count(), {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // jobs))}
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))).split(",")
    one = [{"CUDA_VISIBLE_DEVICES": visible[slot % gpus]} if gpus > 1 else {} for slot in range(jobs)]
    return execute(runs, [threads | gpu for gpu in one], timeout, options)


def run_on_ray(
    runs: Sequence[Run], jobs: int, timeout: float | None, options: Sequence[str], address: str | None
) -> Results:
    """Execute the runs on a Ray cluster, each from its start. Their files are copied to this machine.

    Args:
        runs: What to execute.
        jobs: How many runs share the smallest node. This sets the number of threads of every run, on all nodes. A run
            also gets one GPU if the cluster has any.
        timeout: See `execute`.
        options: See `execute`.
        address: Where the cluster is. None starts one on this machine.

    Raises:
        RunError: If there is no cluster at the address, or a node lacks a package or has other data, or another version
            of the course, than this machine.
    """
    import ray

    if address and not address.startswith(("auto", "local", "ray:")):
        _check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises many types
        token = os.environ.get("RAY_AUTH_MODE") == "token" or "auth" in str(error).lower()
        hint = " Unset RAY_AUTH_MODE, or set RAY_AUTH_TOKEN to the cluster's token." if token else ""
        raise RunError(f"Ray cannot be started or reached: {_first_line(error)}.{hint}") from error
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has replaced it
    try:
        for source in {run.parameters.get("source", "auto") for run in runs}:
            _check_nodes(source)
        smallest = min((node["Resources"]["CPU"] for node in ray.nodes() if node["Resources"].get("CPU")), default=1)
        threads, gpus = max(1, int(smallest) // jobs), int(ray.cluster_resources().get("GPU", 0) > 0)
        task = ray.remote(num_cpus=threads, num_gpus=gpus)(_execute_on_node)
        waiting = {}
        for run in runs:
            sources = {path.name: path.read_bytes() for path in run.notebooks}
            waiting[task.remote(run, sources, {"OMP_NUM_THREADS": str(threads)}, timeout, options)] = run
        while waiting:
            [done], _ = ray.wait(list(waiting))
            run = waiting.pop(done)
            try:
                why, files = ray.get(done)
            except ray.exceptions.RayError as lost:  # for example, the node was lost several times
                last = str(lost).strip().rpartition("\n")[2]
                why, files = f"Ray lost the run ({type(lost).__name__}: {last}).", {}
            if files:
                shutil.rmtree(run.folder, ignore_errors=True)  # nothing of an older run must remain
            for name in sorted(files, key=lambda name: name.endswith(".ipynb")):  # last, because they mark it finished
                atomic_write(run.folder / name, files[name])
            yield run, why
    finally:
        ray.shutdown()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _check_address(address: str) -> None:
    """Raise RunError unless a Ray cluster answers at HOST:PORT. `ray.init` would try for minutes."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        done = call(command, capture_output=True, timeout=ANSWER, check=False)
        why = "" if done.returncode == 0 else "another program, or a cluster that asks for a token, answers there"
    except (OSError, ValueError, TimeoutExpired) as error:
        why = f"it does not answer within {ANSWER} seconds" if isinstance(error, TimeoutExpired) else str(error)
    if why:
        raise RunError(f"No Ray cluster answers at {address} ({why}). Pass its HOST:PORT.")


def _check_nodes(source: str) -> None:
    """Check that each node has the packages, the same course, and the same data as this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def facts() -> str | tuple[str, str]:  # Ray sends nested functions with their code, so it needs no package
        try:
            import papermill  # noqa: F401
            import psutil  # noqa: F401

            from mnist_s5.data.digits import load_mnist
            from mnist_s5.metrics import source_sha256

            return source_sha256(), load_mnist(source)[0].name
        except (ImportError, RuntimeError, OSError) as error:
            return str(error)

    def problem(theirs: str | tuple[str, str]) -> str:
        if isinstance(theirs, str):
            return f"{theirs}. Run there: pip install 'mnist-s5[ray]', then mnist-s5 doctor"
        if theirs[0] != ours[0]:
            return "it has another version of the course. Install the same one there"
        advice = "Set MNIST_S5_DATA on each node before you start Ray there, or pass -p source sample"
        different = f"it has the {theirs[1]} digits, and this machine the {ours[1]} digits. {advice}"
        return different if theirs[1] != ours[1] else ""

    nodes, ours = [node for node in ray.nodes() if node["Alive"]], (source_sha256(), load_mnist(source)[0].name)
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    probe = ray.remote(facts)
    tasks = [probe.options(num_cpus=0, scheduling_strategy=place).remote() for place in places]
    for node, theirs in zip(nodes, ray.get(tasks), strict=True):
        if why := problem(theirs):
            raise RunError(f"The node {node['NodeManagerAddress']} is not ready: {why}.")


def _execute_on_node(
    run: Run, sources: dict[str, bytes], environment: dict[str, str], timeout: float | None, options: Sequence[str]
) -> tuple[str, dict[str, bytes]]:
    """Execute a run in a temporary folder. Return its error or "", and its files."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, blob in sources.items():
            atomic_write(Path(scratch, "notebooks", name), blob)
        here = Run(Path(scratch, "run"), [Path(scratch, "notebooks", name) for name in sources], run.parameters)
        [(_, error)] = execute([here], [environment], timeout, options)
        files = [path for path in here.folder.rglob("*") if path.is_file()]
        blobs = {path.relative_to(here.folder).as_posix(): path.read_bytes() for path in files}
        return error.replace(str(here.folder), str(run.folder)), blobs
