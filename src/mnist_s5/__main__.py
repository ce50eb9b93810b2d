"""The command line: mnist-s5 run · predict · data · doctor."""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path


def run(args: argparse.Namespace) -> int:
    from .parameters import strict_parameters
    from .runs import RunError, find_notebooks, new_run, run_notebook

    if find_spec("papermill") is None:
        raise RunError("Notebooks are executed by papermill, which is not here: pip install 'mnist-s5[notebook]'.")
    notebooks = find_notebooks(args.notebooks or ["all"])
    shares = strict_parameters(notebooks, args.parameters)
    folder = new_run(args.out)
    path = folder / "metrics.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    for notebook, share in zip(notebooks, shares):
        print(notebook.stem, file=sys.stderr)
        run_notebook(notebook, folder, {"run_dir": str(folder.resolve())} | share)
    after = json.loads(path.read_text()) if path.exists() else {}
    if after.get("history") != before.get("history"):  # this call has trained
        of = f"{after['test_images']:,} test digits ({after['dataset']}, recipe {after['recipe']})"
        print(f"{after['test_accuracy']:.2f} % of {of}")
    print(f"The notebooks, their figures and what they measured are in {folder}")
    return 0


def predict(args: argparse.Namespace) -> int:
    from .checkpoint import load_checkpoint
    from .own_digits import PictureError
    from .own_digits import predict as read

    model, _ = load_checkpoint(*args.checkpoint)
    failed = 0
    for path in args.images:
        try:
            digit, probability = read(model, path)
            print(f"{path}: {digit} ({100 * probability:.1f} %)")
        except PictureError as error:
            print(f"mnist-s5: {error}", file=sys.stderr)
            failed = 1
    return failed


def data(args: argparse.Namespace) -> int:
    from .data import data_folder, load_mnist

    train, test = load_mnist("mnist")
    print(f"full MNIST, verified: {len(train):,} training and {len(test):,} test digits in {data_folder()}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    from .doctor import examine

    failed = 0
    for fit, line in examine():
        print("OK  " if fit else "FAIL", line)
        failed |= not fit
    return int(failed)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser("mnist-s5", description="Digit classification on MNIST, notebook first.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="execute notebooks of the course with your parameters")
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="names, files, or all (the default)")
    command.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters")
    command.add_argument("--out", default="", metavar="DIR", help="the run's folder (default: a new one under runs/)")
    command.set_defaults(call=run)
    command = commands.add_parser("predict", help="read the digit in each picture")
    command.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    command.add_argument(
        "--checkpoint", nargs=1, default=[], type=Path, metavar="FILE", help="instead of the shipped weights"
    )
    command.set_defaults(call=predict)
    commands.add_parser("data", help="download full MNIST, or verify it").set_defaults(call=data)
    commands.add_parser("doctor", help="is this machine fit for the course?").set_defaults(call=doctor)
    args = parser.parse_args(argv)
    try:
        return args.call(args)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"mnist-s5: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mnist-s5: interrupted; what was finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
