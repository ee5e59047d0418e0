"""The installed command: a thin install, the help, a pipe that closes."""

import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("arguments", "streams", "code", "said"),
    [
        (["--help"], "stdout", 4, "error: the output: No space left on device\n"),
        (["data", "import", "FILE", "-o", "ok.jsonl", "--json"], "stdout", 4, "error: the output: No space"),
        (["data", "import", "nosuch", "-o", "ok.jsonl"], "stderr", 3, ""),
        (
            ["data", "import", "FILE", "-o", "nosuch/out.jsonl"],
            "",
            3,
            "error: nosuch is not a folder: out.jsonl cannot",
        ),
        (["data", "import", "FILE", "-o", "x" * 300], "", 3, f"error: {'x' * 300}: File name too long"),
        (["batch", "FILE", "-o", f"{'x' * 300}.jsonl"], "", 3, "error: xxx"),
    ],
    ids=["help", "json", "error", "no folder", "long name", "batch"],
)
def test_an_output_that_cannot_be_written_is_no_bug(
    tmp_path: Path, arguments: list[str], streams: str, code: int, said: str
) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,intent\nhi,greeting\n")
    with Path("/dev/full").open("w") as full, (tmp_path / "err").open("w") as err:
        ended = subprocess.run(
            [str(Path(sys.executable).with_name("pointsman"))]
            + [str(file) if one == "FILE" else one for one in arguments],
            cwd=tmp_path,
            stdout=full if streams == "stdout" else subprocess.DEVNULL,
            stderr=full if streams == "stderr" else err,
            check=False,
            timeout=60,
        )
    assert ended.returncode == code
    written = (tmp_path / "err").read_text()
    assert written.startswith(said)
    assert "bug" not in written


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
