"""Memory does not grow with the corpus: ten times the documents cost next to nothing more at the peak."""

import subprocess
import sys

CHILD = """
import resource, sys
from pathlib import Path
from fovea.pipelines import ingest
from fovea.pipelines.pipeline import Pipeline

ingest.GROUP_CHUNKS = 256
root, files = Path(sys.argv[1]), int(sys.argv[2])
(root / "docs").mkdir()
for i in range(files):
    text = " ".join(f"Sentence {j} of file {i} says w{(i * j) % 997}." for j in range(60))
    (root / "docs" / f"{i:05}.txt").write_text(text)
with Pipeline(base=root, encoder={"use": "hash", "size": 64}, segment={"use": "fixed", "max_tokens": 32}) as pipeline:
    report = pipeline.ingest(root / "docs")
print(report.chunks, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_of_ingestion(tmp_path):
    found = []
    for files in (60, 600):
        root = tmp_path / str(files)
        root.mkdir()
        out = subprocess.check_output([sys.executable, "-c", CHILD, str(root), str(files)], text=True).split()
        found.append((int(out[0]), float(out[1])))
    (few, before), (many, after) = found
    assert many == 10 * few
    assert after < before * 1.1, f"{few} chunks took {before:.0f} MiB, {many} took {after:.0f} MiB"
