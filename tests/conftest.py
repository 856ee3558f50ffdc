"""What many tests need: a few files, pipelines without models, and the shared data where it is there."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline

settings.register_profile("fovea", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
settings.load_profile("fovea")

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SHARED = ROOT.parent / "shared"
"""Evaluation data beside the checkout; tests that need it skip where it is not."""


os.environ.setdefault("SETUPTOOLS_USE_DISTUTILS", "stdlib")
"""Else setuptools, which torch's compiler imports, fails where a test has imported the standard distutils before."""


def pytest_configure() -> None:
    """Each of several workers, and what it starts, computes on its share of the processors: more threads than those
    wait for each other. numpy and torch read this when they are first imported, which is after.
    """
    if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
        gc.disable()  # Collecting only adds: what is made stays, and each look at it finds nothing to give back.


LONGEST = (
    "attention_retrieval/cache/test_saved_cache.py",
    "pipelines/sweep/test_sweep_run.py",
    "project/test_install.py",
    "attention_retrieval/test_retrieval_cache.py",
    "project/test_wheel.py",
    "pipelines/studio/test_studio_browser.py",
    "project/test_docs.py",
    "segmenters/test_segmenters.py",
    "segmenters/test_gap_segmenters.py",
    "retrievers/test_stores.py",
    "pipelines/cli/test_cli.py",
    "pipelines/test_crash.py",
    "retrievers/test_train_retriever.py",
    "retrievers/test_crash_store.py",
    "segmenters/test_train.py",
    "pipelines/test_kills.py",
    "pipelines/test_memory.py",
)
"""Files that take the longest: they come first, lest one worker is at them when the others have nothing left to do.
The first compiles the kernels of every index, which Numba keeps on disk, while the second and the third need none: two
workers that need them at once compile them twice. So the notebooks, which need most of them, come when they are there.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order of the others stays."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What thousands of collected tests hold is there to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


TEXTS = {
    "moon.txt": "The Moon orbits the Earth in 27 days. It has no air. Neil Armstrong walked on it in 1969.\n",
    "tea.md": "# Tea\n\nIt is made of leaves.\n\n## Brewing\n\nGreen tea is brewed at 80 degrees.\n",
    "sub/rivers.txt": "The Danube flows through ten countries. The Nile is longer than the Danube.\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with three small documents."""
    for name, text in TEXTS.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "docs"


@pytest.fixture
def make(tmp_path: Path):
    """Makes pipelines with the hashing encoder in a folder of the test's own."""
    from fovea.pipelines.pipeline import Pipeline

    made: list[Pipeline] = []

    def pipeline(**stages) -> Pipeline:
        stages = {"encoder": "hash", "segment": {"use": "sentence", "max_tokens": 12}, **stages}
        made.append(Pipeline(base=tmp_path, **stages))
        return made[-1]

    yield pipeline
    for one in made:
        one.close()


@pytest.fixture
def one_thread():
    """torch on one thread, on which it sums in one order, so that the same training gives the same weights."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A small random sentence-transformers model, its exports in a cache of its own."""
    from tests.tiny import save_encoder

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield save_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory):
    """Tests never ask the network for a model, and share one cache of exports, which all workers write to."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["FOVEA_CACHE"] = str(shared / "fovea-cache")
    os.environ["FOVEA_OFFLINE"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    with pytest.MonkeyPatch.context() as patch:  # What survives the loss of power no test can tell; waiting takes time.
        patch.setattr(os, "fsync", lambda handle: None)
        yield
