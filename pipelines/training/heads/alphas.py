"""duo: alphas, a line a layer, a number a kv head, by the loop of every training."""

from __future__ import annotations

from fovea.attention_retrieval.head_files import FILES
from fovea.attention_retrieval.probes.alphas import Alphas, AlphaTask
from fovea.pipelines.training.heads.learning import Learning
from fovea.rag.training.loop import fit
from fovea.rag.training.train import Result
from fovea.rag.write_whole import write_whole

RECIPE = Alphas


def learn(learning: Learning) -> Result:
    """Train them; what stands in the folder is the best so far."""
    said, out = learning.sentences(), learning.out
    task = AlphaTask(learning.lm, said, learning.recipe, learning.seed)
    run, ended = fit(task, learning.recipe, out, learning.seed, given=learning.given(said), **learning.sitting)
    alphas = task.arrays()["alphas"]
    text = "\n".join("\t".join(f"{alpha:.6f}" for alpha in row) for row in alphas) + "\n"
    write_whole(out / FILES["duo"], lambda part: part.write_text(text, "utf-8"))
    table = [{"layer": str(n), "alphas": ", ".join(f"{x:.2f}" for x in row)} for n, row in enumerate(alphas)]
    scores = dict(run.best)
    return Result(learning.recipe, learning.seed, "", ended, run.step, run.best_step, scores, run.seconds, table)
