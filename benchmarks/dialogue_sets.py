"""Dialogues to learn from and to splice, of data that are about something else.

    python benchmarks/dialogue_sets.py --data ../shared/data --out build/dialogues

writes a folder for `fovea train segmenter dialogue --data build/dialogues`: sixty meetings (QMSum's own form), and as
`.ref` files, a turn a line, what is said in stories (SQuALITY, quoted speech) and questions with their answers about a
paragraph each (XQuAD). `benchmarks/dialogue.py` also reads from here what was kept out of training: days of two
people's chat (LoCoMo) and small talk (TIAGE).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from fovea.rag.sentences import sentences
from fovea.segmenters.corpora.drawn import drawn

Dialogue = tuple[str, list[str]]
"""Its name, and its turns."""
QUOTED = re.compile(r'["\u201c]([^"\u201d]{2,400})["\u201d]')
FEWEST = 30
"""Turns that a story must have."""
MEETINGS = 60
"""Of QMSum's training part, drawn with seed 0: the rest would add hours of encoding and little else."""


def stories(data: Path) -> Iterator[Dialogue]:
    """What is said in each story, in order; speech of a single word is left out."""
    for path in sorted((data / "stories/squality").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            said = [" ".join(match[1].split()) for match in QUOTED.finditer(row["document"])]
            turns = [words for words in said if " " in words]
            if len(turns) >= FEWEST:
                yield str(row["metadata"]["passage_id"]), turns


def answers(data: Path) -> Iterator[Dialogue]:
    """The questions on each paragraph, each with its answer or, every other time, the sentence that holds it."""
    for a, article in enumerate(json.loads((data / "qa/xquad_en/xquad.en.json").read_text("utf-8"))["data"]):
        for p, paragraph in enumerate(article["paragraphs"]):
            text, turns = paragraph["context"], []
            spans = sentences(text)
            for question in paragraph["qas"]:
                answer = question["answers"][0]
                holds = next(span for span in reversed(spans) if span.start <= answer["answer_start"])
                whole = len(turns) % 4 == 0
                turns += [question["question"], text[holds.start : holds.end] if whole else answer["text"]]
            yield f"{a}-{p}", [" ".join(turn.split()) for turn in turns]


def days(data: Path) -> Iterator[Dialogue]:
    """The days of LoCoMo's three long chats, without the names."""
    found: dict[str, list[str]] = {}
    for line in (data / "temporal/locomo3/corpus.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["_id"].split(":")[0], []).append(" ".join(row["text"].partition(": ")[2].split()))
    yield from found.items()


def chats(data: Path) -> Iterator[Dialogue]:
    """TIAGE's chats."""
    for path in sorted((data / "dialogue/tiage").glob("*.ref")):
        lines = path.read_text("utf-8").splitlines()
        yield path.stem, [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("====")]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    meetings = sorted((args.data / "segmentation/qmsum/train").glob("*.json"))
    random.Random(0).shuffle(meetings)
    (args.out / "qmsum/train").mkdir(parents=True, exist_ok=True)
    for path in meetings[:MEETINGS]:
        shutil.copyfile(path, args.out / "qmsum/train" / path.name)
    for corpus, found in {"stories": stories, "answers": answers}.items():
        for name, turns in found(args.data):
            path = args.out / corpus / drawn(name) / f"{name}.ref"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(turns) + "\n", "utf-8")
        print(f"{args.out / corpus}: {sum(1 for _ in (args.out / corpus).rglob('*.ref'))} dialogues")


if __name__ == "__main__":
    main()
