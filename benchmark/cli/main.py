"""The program: its commands, its exit codes, and errors in one or two lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from benchmark.cli import board, catalogue, pretraining, run, survey
from benchmark.contracts import GalaxybenchError, UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    name="galaxybench",
    help="Which galaxy foundation model to trust, and how far.",
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# Older typer stands on the package click, newer brings its own and installs none: both are known by typer's own names.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
_PARSER_ERROR: Any = typer.BadParameter.__mro__[2]

app.command("run")(run.run)
app.command("list")(catalogue.list_entries)
app.command("show")(catalogue.show)
app.command("check")(catalogue.check)
app.command("pretrain")(pretraining.pretrain)
app.command("embed")(pretraining.embed)
app.add_typer(survey.app, name="survey")
app.command("score")(board.score)
app.command("leaderboard")(board.leaderboard)
app.command("report")(board.report)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns
    -------
    exit code : 0 for success, 1 where the work failed, 2 for bad usage, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        code = app(arguments, prog_name="galaxybench", standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("stopped; what is done is kept, run again to go on", file=sys.stderr)
        return 130
    except _PARSER_ERROR as error:
        where = error.ctx.command_path if isinstance(error, _USAGE_ERROR) and error.ctx else "galaxybench"
        print(f"error: {error.format_message().rstrip('.')} (see {where} --help)", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except GalaxybenchError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if debug:
            raise
        print(f"error: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0
