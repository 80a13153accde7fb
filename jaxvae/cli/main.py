"""The command line: parses, calls, prints. Progress and log go to standard error.

Exit codes: 0 done; 1 the data, a run folder or a missing extra is at fault; 2 an option is at
fault; 130 interrupted, to be resumed.
"""

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from jaxvae.cli.options import Command, Parser
from jaxvae.errors import JaxvaeError
from jaxvae.runs.interrupts import INTERRUPTED, SIGNALS, Interrupts, say, signals_as_before

# The module of each command, imported once it is asked for, since that takes a second or two.
COMMANDS = {
    "study": ("study", "train an ensemble on a panel and report what it found"),
    "gather": ("study", "finish a study whose members a job array has trained"),
    "walk": ("walk", "train on window after window and judge each on the dates that follow"),
    "scenarios": ("ask", "draw returns from a study's chosen models"),
    "encode": ("ask", "factors of new dates under a saved study"),
    "impute": ("ask", "fill the missing cells of new dates under a saved study"),
    "forecast": ("ask", "one-step-ahead mean, volatility and value at risk of a portfolio"),
    "compare": ("ask", "validation scores of several studies of one panel, side by side"),
    "report": ("ask", "draw a study's figures and report again"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors a user can mend are one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        with warnings.catch_warnings(), signals_as_before():
            warnings.showwarning = _warn_in_a_line  # type: ignore[assignment]
            interrupts = Interrupts()
            if "--resume" in words or name in ("gather", "report"):
                interrupts.how_to_go_on = lambda: "go on with the same command"
            interrupts.call(lambda: run(interrupts, name, words))
    except JaxvaeError as error:
        if "--debug" in words:
            raise
        command = find_command(name)
        line = error.worded(command.name_option) if command else str(error)
        say(f"jaxvae: {' '.join(line.split())}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        say(f"jaxvae: interrupted; {interrupt}")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def console() -> NoReturn:
    """`main` as a program. Where something went wrong it leaves without the interpreter's farewell,
    in which XLA's compiler threads, still at work, would crash, and JAX's distributed runtime would
    wait minutes for the other processes."""
    code = main()
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def run(interrupts: Interrupts, name: str, words: Sequence[str]) -> None:
    """The command of a name with its options; where there is none, what there is."""
    command = find_command(name)
    options = make_parser(name, command).parse_args(words)
    if command is not None:
        importlib.import_module("jaxvae.cli.compilation").keep_programs()
        command.run(interrupts, *command.read(options))


def find_command(name: str) -> Command | None:
    """The command of a name."""
    if name not in COMMANDS:
        return None
    found: Command = importlib.import_module(f"jaxvae.cli.{COMMANDS[name][0]}").COMMANDS[name]
    return found


def make_parser(chosen: str, command: Command | None) -> Parser:
    """All commands, the one that was chosen with its options."""
    parser = Parser(
        prog="jaxvae",
        description="Latent factors in panels of asset returns, with ensembles of VAEs.\n\n"
        "examples:\n"
        "  jaxvae study --data returns.csv    find the factors of a file's returns\n"
        "  jaxvae study --help                all that a study can be told\n"
        "  jaxvae walk --data returns.csv     and whether they would have held, date by date",
    )
    parser.add_argument("-V", "--version", action="version", version=f"jaxvae {version('jaxvae')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (_, what) in COMMANDS.items():
        added = commands.add_parser(name, help=what)
        if command is not None and name == chosen:
            command.add_options(added)
            parser.help_of = added.prog
    return parser


def _warn_in_a_line(message: Any, *where: Any) -> None:
    say(f"jaxvae: warning: {' '.join(str(message).split())}")
