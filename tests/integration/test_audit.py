"""The audit of dependencies: what CI says of each answer that pip-audit can give."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
FLAW = {"id": "GHSA-1", "fix_versions": ["1.1"], "aliases": [], "description": "bad"}
SOUND, FLAWED = (
    {"name": name, "version": "1.0", "vulns": flaws} for name, flaws in (("sound", []), ("flawed", [FLAW]))
)
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([SOUND, UNKNOWN], 0, "0 known vulnerabilities in 1 of 2"),
        ([SOUND, FLAWED], 1, "flawed 1.0: GHSA-1, fixed in 1.1"),
        ([UNKNOWN], 0, "skipped: the advisory service"),
        (None, 0, "skipped: no advisory service answers"),
    ],
)
def test_the_audit_says_what_is_known_and_what_could_not_be_asked(
    tmp_path: Path, dependencies: object, code: int, said: str
) -> None:
    tool = tmp_path / "pip-audit"
    written = f"open(sys.argv[-1], 'w').write({json.dumps({'dependencies': dependencies})!r})"
    tool.write_text(f"#!{sys.executable}\nimport sys\n{written if dependencies else 'sys.exit(1)'}\n")
    tool.chmod(0o755)
    done = subprocess.run([AUDIT, tool], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout
