"""The installed command: a thin install, the help, a pipe that closes."""

import subprocess
import sys

import click
import pytest

from pointsman_producer.commands import root


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_thin_install_says_in_one_line_what_to_install() -> None:
    ended = run_python(
        "import sys; sys.modules['rich'] = None\nfrom pointsman_producer import main\nmain.main()",
    )
    assert ended.returncode == 2
    assert ended.stderr == "pointsman: rich missing; pip install 'pointsman[cli]'\n"
    assert ended.stdout == ""


@pytest.mark.parametrize("write", ["emit", "out.print"])
def test_a_reader_that_goes_away_ends_the_command_quietly(write: str) -> None:
    ended = run_python(
        "import os, sys\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "import click\n"
        "from pointsman_producer.commands import command_line\n"
        f"sys.exit(command_line.run(click.Command('talk', callback=lambda: command_line.{write}('x' * 100_000)), []))"
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_help_imports_no_command() -> None:
    ended = run_python(
        "import sys\nsys.argv = ['pointsman', '--help']\n"
        "from pointsman_producer.commands import root\nroot.run()\n"
        "print([name for name in sys.modules if name.startswith('pointsman_producer.commands.')])"
    )
    loaded = ended.stdout.splitlines()[-1]
    assert "commands.command_line" in loaded
    assert "commands.demo" not in loaded


@pytest.mark.parametrize("name", root.COMMANDS)
def test_every_command_has_a_help_with_examples(name: str) -> None:
    command = root.pointsman.get_command(click.Context(root.pointsman), name)
    assert command is not None
    documented = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for leaf in documented:
        assert leaf.help, name
        assert "Examples:" in (leaf.epilog or ""), leaf.name


def test_the_help_documents_every_exit_code() -> None:
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "130 "):
        assert f"\n  {code}" in root.EPILOG
