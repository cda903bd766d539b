"""The commands behind `make`: demo, curate, train, ui, …; `falx <command> --help` says more."""

import argparse
import sys
from collections.abc import Callable

from pipeline.errors import FalxError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 an error that is explained, 130 interrupted."""
    parsed = _build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except FalxError as error:
        sys.stderr.write(f"\n{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command again to go on\n")
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="falx", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("demo", _demo, "the whole graph on phantoms, to trained models and their optimism")
    add("curate", _curate, "raw collections to splits and audit, for the profile of the settings")
    train = add("train", _train, "one recipe under one protocol: train, register, predict, score")
    train.add_argument("--recipe", required=True, help="a file name in catalog/recipes, without .yaml")
    protocols = "published, stratified, patient, fold:1 to fold:5, external:<collection>"
    train.add_argument("--protocol", required=True, help=f"how the test set is chosen: {protocols}")
    folds = add(
        "folds", _folds, "one recipe on five patient-disjoint folds, and its figures over all patients"
    )
    folds.add_argument("--recipe", required=True, help="a file name in catalog/recipes, without .yaml")
    explain = add("explain", _explain, "where a model looks, measured against the tumours' boxes")
    explain.add_argument("--recipe", required=True, help="a file name in catalog/recipes, without .yaml")
    explain.add_argument("--protocol", required=True, help=f"how its test set was chosen: {protocols}")
    add("report", _report, "the pages of every trained model and of the release, where they are outdated")
    add("verify", _verify, "count every number of the reports again, from the stored answers")
    add("controls", _controls, "plant faults in curated phantoms, one at a time, and show what catches each")
    export = add(
        "export", _export, "hashes, labels, patients and splits, and pixels where the licence allows it"
    )
    export.add_argument("--target", required=True, help="a new folder, or a file that ends in .zip")
    export.add_argument(
        "--pixels", nargs="*", help="collections whose pixels go along; default: all that may"
    )
    onnx = add("onnx", _onnx, "a trained model as one ONNX file with its card; needs the extra `edge`")
    onnx.add_argument("--recipe", required=True, help="a file name in catalog/recipes, without .yaml")
    onnx.add_argument("--protocol", required=True, help=f"how its test set was chosen: {protocols}")
    add("reference", _reference, "write docs/reference.md anew from the code")
    rollback = add("rollback", _rollback, "the champion before the present one again, or a version by number")
    rollback.add_argument(
        "--version", default="", help="of the registered model falx; default: the one before"
    )
    rollback.add_argument("--why", default="", help="the reason, for the ledger of releases")
    simulate = add("simulate", _simulate, "six weeks of arriving phantom collections, one of them bad")
    simulate.add_argument("--folder", default="", help="made anew each time; default .falx/simulation")
    simulate.add_argument("--scale", type=float, default=0.6, help="size of the phantoms; default 0.6")
    add("ui", _ui, "Dagster and MLflow on 127.0.0.1, until Ctrl-C")
    add("app", _app, "slices in, what the registered models say out: on 127.0.0.1, until Ctrl-C")
    add("doctor", _doctor, "settings, devices, disk, credentials and versions, each with its fix")
    trust = add("trust", _trust, "accept the present bytes of a raw collection as the ones to verify")
    trust.add_argument("--collection", required=True, help="a file name in catalog/datasets, without .yaml")
    return parser


def _demo(_parsed: argparse.Namespace) -> int:
    from commands.demo import run_demo

    return run_demo()


def _curate(_parsed: argparse.Namespace) -> int:
    from commands.work import run_curation

    return run_curation()


def _train(parsed: argparse.Namespace) -> int:
    from commands.work import run_training

    return run_training(parsed.recipe, parsed.protocol)


def _folds(parsed: argparse.Namespace) -> int:
    from commands.folds import run_folds

    return run_folds(parsed.recipe)


def _explain(parsed: argparse.Namespace) -> int:
    from commands.explain import run_explanation

    return run_explanation(parsed.recipe, parsed.protocol)


def _report(_parsed: argparse.Namespace) -> int:
    from commands.reports import run_reports

    return run_reports()


def _verify(_parsed: argparse.Namespace) -> int:
    from commands.verify import run_verify

    return run_verify()


def _controls(_parsed: argparse.Namespace) -> int:
    from commands.controls import run_controls

    return run_controls()


def _export(parsed: argparse.Namespace) -> int:
    from commands.export import run_export

    return run_export(parsed.target, parsed.pixels)


def _onnx(parsed: argparse.Namespace) -> int:
    from commands.onnx import run_onnx

    return run_onnx(parsed.recipe, parsed.protocol)


def _reference(_parsed: argparse.Namespace) -> int:
    from commands.reference import write_reference

    return write_reference()


def _rollback(parsed: argparse.Namespace) -> int:
    from commands.rollback import run_rollback

    return run_rollback(parsed.version, parsed.why)


def _simulate(parsed: argparse.Namespace) -> int:
    from commands.simulate import run_simulation

    return run_simulation(parsed.folder, parsed.scale)


def _ui(_parsed: argparse.Namespace) -> int:
    from commands.ui import serve_ui

    return serve_ui()


def _app(_parsed: argparse.Namespace) -> int:
    from commands.app.launch import serve_app

    return serve_app()


def _doctor(_parsed: argparse.Namespace) -> int:
    from commands.doctor import run_doctor

    return run_doctor()


def _trust(parsed: argparse.Namespace) -> int:
    from commands.work import trust_collection

    return trust_collection(parsed.collection)


if __name__ == "__main__":
    sys.exit(main())
