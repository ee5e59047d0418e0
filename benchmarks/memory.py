"""What memory a child adds to a worker, and whether the client's grows with the file."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks import corpus, deployment
from benchmarks.reference import MESSAGE
from pointsman_producer.client.client import Client
from pointsman_producer.deployment.launcher import Deployment

FILES = (2_000, 200_000)
MIB = 1024 * 1024
# Runs a command and prints the peak resident memory of its whole life, in KiB.
_MEASURE = (
    "import resource,subprocess,sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def run(trained: Path) -> None:
    """Print both tables."""
    with deployment.running(workers=2, trained=trained) as running, tempfile.TemporaryDirectory() as folder:
        _children(running)
        _client(running, Path(folder))


def _children(running: Deployment) -> None:
    with Client(settings=running.settings) as client:
        texts = corpus.texts(20_000)
        for handle in client.submit_many(texts)[::MESSAGE]:
            handle.result(120)
    parent = psutil.Process(running.pids()["serving"])
    print("\nMemory of a serving worker with both tiers loaded, after 20,000 texts")
    print(f"  {'parent, resident':<40}{parent.memory_info().rss / MIB:8.1f} MiB")
    for child in parent.children():
        full = child.memory_full_info()
        print(
            f"  {'child, resident / its own (unshared)':<40}{full.rss / MIB:8.1f} / {full.uss / MIB:.1f} MiB"
        )


def _client(running: Deployment, folder: Path) -> None:
    print("\nPeak memory of `pointsman batch`")
    for conversations in FILES:
        source = _transcripts(folder / f"{conversations}.jsonl", conversations)
        pointsman = Path(sys.executable).with_name("pointsman")
        command = [str(pointsman), "batch", str(source), "-o", str(source.with_suffix(".out.jsonl"))]
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *command],
            check=True,
            capture_output=True,
            env={**running.settings.environ(), "PATH": ""},
        )
        print(
            f"  {conversations:>9,} conversations, {source.stat().st_size / MIB:7.1f} MiB file {int(done.stdout) / 1024:10.1f} MiB"
        )


def _transcripts(path: Path, conversations: int) -> Path:
    with corpus.source().open(encoding="utf-8") as lines:
        samples = [json.loads(line) for line in lines]
    with path.open("w", encoding="utf-8") as out:
        for number in range(conversations):
            sample = samples[number % len(samples)]
            out.write(json.dumps({"conversation_id": f"c-{number}", "turns": sample["turns"]}) + "\n")
    return path
