"""The command line: mnist-s5 run, sweep, compare, predict, data, and doctor."""

import argparse
import io
import json
import logging
import math
import os
import re
import signal
import sys
import warnings
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .messages import printable

if TYPE_CHECKING:
    import pandas as pd

    from .pictures.find import FoundDigit


def run(args: argparse.Namespace) -> int:
    from .jobs.parameters import RunError, parameter_types, parse_parameters
    from .jobs.runs import ERROR_FILE, find_notebooks, new_run, reserved, run_notebook
    from .metrics import read_metrics

    notebooks = find_notebooks(args.notebooks or ["all"])
    values = parse_parameters(parameter_types(notebooks, bool(args.parameters)), args.parameters)
    folder = Path(os.path.abspath(new_run(args.out)))
    print(f"The run's folder is {folder}. If the run is interrupted, resume it with --out {folder}", file=sys.stderr)
    failed = 0
    with reserved(folder):
        before = read_metrics(folder)
        for notebook, parameters in zip(notebooks, values, strict=True):
            print(notebook.stem, file=sys.stderr)
            try:
                run_notebook(notebook, folder, parameters, args.cell_timeout, args.keep_going)
            except RunError as error:
                if not args.keep_going:
                    raise
                failed = 1
                print(f"mnist-s5: {error}", file=sys.stderr)
        if not failed:
            (folder / ERROR_FILE).unlink(missing_ok=True)  # of a sweep in which this run failed
        after = read_metrics(folder)
    if after.get("history") != before.get("history"):  # this command trained a model
        of = f"{after['test_images']:,} test digits ({after['dataset']}, recipe {after['recipe']})"
        print(f"{after['test_accuracy']:.2f}% of {of}")
    if not failed:
        print(f"The notebooks, their figures, and metrics.json are in {folder}")
    return failed


def sweep(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .files import atomic_write
    from .jobs import sweep
    from .jobs.compare import read_runs, write_table
    from .jobs.parameters import RunError
    from .jobs.runs import ERROR_FILE, find_notebooks, new_run, run_path

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the runs end, too
    if bool(args.each) == bool(args.notebooks):
        raise RunError('Pass the notebooks to run, or --each "class/*.ipynb" for copies of one notebook.')
    if args.address and not args.on:
        raise RunError("--address is for a Ray cluster. Add --on ray.")
    folder = run_path(args.out).resolve()
    if args.each:
        runs = sweep.each_notebook(args.each, args.parameters, folder)
    else:
        runs = sweep.combinations(find_notebooks(args.notebooks), args.parameters, folder)
    missing = [run for run in runs if not run.finished()]
    for run in missing:
        new_run(str(run.folder))  # so that a table lists it
    print(f"The sweep's folder is {folder}. If it is interrupted, resume it with --out {folder}", file=sys.stderr)
    words = ["--keep-going"] * bool(args.each) + ["--cell-timeout", str(args.cell_timeout)] * bool(args.cell_timeout)
    options = (missing, args.jobs, args.timeout, words)
    results = sweep.run_on_ray(*options, args.address) if args.on and missing else sweep.run_here(*options)
    try:
        with closing(results), tqdm(total=len(runs), initial=len(runs) - len(missing), unit="run") as bar:
            for run, error in results:
                bar.update()
                (run.folder / ERROR_FILE).unlink(missing_ok=True)
                if error:
                    atomic_write(run.folder / ERROR_FILE, error.encode(errors="backslashreplace"))
                    tqdm.write(f"{run.folder.name}: {error}", file=sys.stderr)
    except RunError:  # Ray refuses all of them
        for empty in (*(run.folder for run in runs), folder):
            with suppress(OSError):
                empty.rmdir()
        raise
    table = read_runs(*(run.folder for run in runs))
    write_table(table, folder / "runs.csv")
    _print_runs(table)
    print(f"The table is in {folder / 'runs.csv'}")
    return int(not table["status"].isin(["finished", "repeated"]).all())


def _print_runs(table: "pd.DataFrame") -> None:
    """Print each run with its main results, and below, which cells or runs failed."""
    main = ("run", "status", "dataset", "test_accuracy", "train_seconds")
    short = table[[name for name in table if name in main or name.startswith("exercises_")]]
    short = short.rename(columns=lambda name: name.rpartition(".")[2])
    print(short.to_string(index=False, na_rep="", float_format="{:.2f}".format))
    for run in table[table["error"] != ""].itertuples():
        print(f"{run.run}: {run.error}")


def compare(args: argparse.Namespace) -> int:
    from .jobs.compare import compare_runs, number, read_runs, write_table, write_tensorboard

    runs = read_runs(*args.runs)
    groups, differences = compare_runs(runs, args.metric)
    if args.csv:
        write_table(runs, args.csv)
    if args.tensorboard:
        write_tensorboard(runs, args.tensorboard)
    if args.json:
        parts = {"runs": runs, "groups": groups.reset_index(), "differences": differences}
        print(json.dumps({name: json.loads(part.to_json(orient="records")) for name, part in parts.items()}))
        return 0
    print(groups.to_string(float_format="{:.2f}".format))
    if len(differences):
        print(f"\n{differences.to_string(index=False, float_format='{:.3f}'.format)}")
    for run, value in zip(runs.itertuples(), runs[args.metric], strict=True):
        if run.status != "finished":
            print(f"{run.run} ({run.status}) is not counted. {run.error}".rstrip())
        elif math.isnan(number(value)):
            print(f"{run.run} is not counted. It has no number {args.metric}.")
    return 0


def predict(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .files import PRETRAINED_WEIGHTS
    from .pictures.classify import classify
    from .pictures.read import ImageError, listed
    from .training.checkpoint import load_checkpoint

    model, _ = load_checkpoint(args.checkpoint or PRETRAINED_WEIGHTS)
    found_files = [_expand(pattern) for pattern in args.images]
    paths = [path for images, _ in found_files for path in images]
    others = [path for _, rest in found_files for path in rest]
    failed = 0
    # disable=None: no bar if stderr is not a terminal
    for number, path in enumerate(tqdm(paths, unit="image", disable=len(paths) < 10 or None), 1):
        try:
            found = classify(model, path)
        except ImageError as error:
            failed = 1
            tqdm.write(f"mnist-s5: {printable(str(error))}", file=sys.stderr)
            if args.json:
                tqdm.write(json.dumps({"file": path, "error": str(error)}))
            continue
        if args.json:
            tqdm.write(json.dumps({"file": path, "digits": [digit.as_dict() for digit in found]}))
        elif len(found) == 1:
            tqdm.write(f"{printable(path)}: {found[0]}")
        else:
            tqdm.write(f"{printable(path)}: {' '.join(str(digit.label) if digit.sure else '?' for digit in found)}")
            for which, digit in enumerate(found, 1):
                if not digit.sure:
                    tqdm.write(f"{printable(path)}, digit {which}: {digit}")
        if args.show:
            _show(args.show / f"{number}-{Path(path).stem[:80]}.png", path, found)
    if others:
        print(f"mnist-s5: not read, because they are not images: {printable(listed(others))}", file=sys.stderr)
    return failed


def _show(target: Path, path: str, found: "list[FoundDigit]") -> None:
    """Write a figure of the images in MNIST's format, which are the input of the network."""
    from .figures.images import image_grid
    from .files import atomic_write

    images, captions = zip(*((digit.image, str(digit)) for digit in found), strict=True)
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the font may lack a character of the name
        image_grid(images, captions, printable(path), None).savefig(png)
    atomic_write(target, png.getvalue())


def _expand(pattern: str) -> tuple[list[str], list[Path]]:
    """Return a file, the images in a folder, or those that match a pattern (Windows does not expand patterns).

    The second list holds the files in folders that are not images.

    Raises:
        ValueError: If a folder contains no images.
    """
    from .jobs.runs import matches
    from .pictures.read import image_files, listed

    images: list[str] = []
    others: list[Path] = []
    for path in matches(pattern) or [pattern]:
        if os.path.isdir(path):
            found, rest = image_files(Path(path))
            if not found:
                what = f", only {printable(listed(rest))}" if rest else ""
                fix = "Add PNG or JPEG files, or pass another folder."
                raise ValueError(f"The folder {path} contains no images that can be read{what}. {fix}")
            images += map(str, found)
            others += rest
        else:
            images.append(path)
    return images, others


def data(args: argparse.Namespace) -> int:
    from .data.digits import data_folder, load_mnist

    train, test = load_mnist("mnist")
    print(f"full MNIST, verified: {len(train):,} training and {len(test):,} test digits in {data_folder()}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    from .doctor import examine

    failed = 0
    for passed, line in examine():
        print("OK  " if passed else "FAIL", line)
        failed |= not passed
    return int(failed)


def _at_least_1(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is invalid. It must be a whole number, at least 1.")
    return int(text)


def _output(text: str) -> Path:
    from .jobs.parameters import RunError, local_path

    try:
        return local_path(text)
    except RunError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _Version(argparse.Action):
    """Print the version. It is looked up only then, because it takes time, and fails if the course is not installed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"mnist-s5 {version('mnist-s5')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mnist-s5", description="Digit classification on MNIST, notebook first.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="execute notebooks of the course with your parameters")
    command.set_defaults(call=run)
    _add_run_options(command, "names, paths, or all (the default)", "set a notebook parameter (may be repeated)")
    command.add_argument("--keep-going", action="store_true", help="if a cell fails, execute the others")

    command = commands.add_parser("sweep", help="run notebooks with each combination of parameters, or many copies")
    command.set_defaults(call=sweep)
    help = "values of a parameter, such as fast,best or 1..5 (may be repeated)"
    _add_run_options(command, "names, paths, or all", help)
    command.add_argument("--each", metavar="PATTERN", help='run each notebook that matches, such as "class/*.ipynb"')
    command.add_argument("--jobs", type=_at_least_1, default=1, metavar="N", help="runs at a time (default: 1)")
    command.add_argument("--on", choices=["ray"], help="run on a Ray cluster; --jobs divides the CPUs of each node")
    command.add_argument("--address", help="address of the Ray cluster (default: start one on this machine)")
    command.add_argument("--timeout", type=_at_least_1, metavar="SECONDS", help="kill a run that takes longer in total")

    command = commands.add_parser("compare", help="compare the results of runs")
    command.set_defaults(call=compare)
    command.add_argument("runs", nargs="+", metavar="RUNS", help="folders of runs or of sweeps")
    command.add_argument("--metric", default="test_accuracy", help="what to compare (default: test_accuracy)")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--csv", type=_output, metavar="FILE", help="write the table of runs to this file")
    command.add_argument("--tensorboard", type=_output, metavar="DIR", help="write event files for TensorBoard")

    card = "docs/model_card.md says how the network was trained, how accurate it is, and what it is not for."
    command = commands.add_parser("predict", help="classify the digits in each image", epilog=card)
    command.set_defaults(call=predict)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, or patterns")
    command.add_argument("--json", action="store_true", help="print one JSON object per image")
    command.add_argument("--show", type=_output, metavar="DIR", help="write the prepared 28 × 28 images to DIR")
    help = "weights to use instead of the pretrained ones: a file, or a run's folder"
    command.add_argument("--checkpoint", type=Path, metavar="PATH", help=help)

    commands.add_parser("data", help="download full MNIST, or verify it").set_defaults(call=data)
    commands.add_parser("doctor", help="check whether this machine can run the course").set_defaults(call=doctor)
    return parser


def _add_run_options(command: argparse.ArgumentParser, notebooks: str, parameters: str) -> None:
    command._negative_number_matcher = re.compile(r"-[\d.]")  # argparse would take the value -2..0 for an option
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help=notebooks)
    several: dict[str, Any] = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", **several, dest="parameters", help=parameters)
    command.add_argument("--out", default="", metavar="DIR", help="folder to write to (default: a new one in runs/)")
    help = "stop a cell that takes longer"
    command.add_argument("--cell-timeout", type=_at_least_1, metavar="SECONDS", help=help)


def main(argv: list[str] | None = None) -> int:
    """Run the command line, and return its status: 0, 1 after one sentence on standard error, or 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal without Unicode
    args = _parser().parse_args(argv)
    try:
        status = args.call(args)
        sys.stdout.flush()  # a pipe without a reader fails here, and not at exit, where nobody could catch it
        return status
    except ModuleNotFoundError as error:
        extra = error.name in ("ray", "tensorboard")
        fix = f"pip install 'mnist-s5[{error.name}]'" if extra else "mnist-s5 doctor"
        print(f"mnist-s5: {error}. Run: {fix}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has ended, as in `mnist-s5 predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that flushing at exit does not fail, too
        return 141  # as of a process that SIGPIPE has ended
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        print(f"mnist-s5: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would report that the kernel has died
        print("mnist-s5: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
