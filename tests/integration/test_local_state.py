"""A launcher that was killed leaves a file behind, which misleads no command."""

import subprocess
import sys
from pathlib import Path

from pointsman_producer.deployment import state as local_state


def test_the_state_of_a_killed_launcher_misleads_no_command(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pointsman_producer.deployment import state\n"
        "from pointsman_shared.settings import Settings\n"
        "folder = Path(sys.argv[1]); claim = state.claim(folder); claim.__enter__()\n"
        "state.announce(folder, Settings())\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert (tmp_path / local_state.FILE_NAME).exists()
    assert local_state.running(tmp_path) is None
