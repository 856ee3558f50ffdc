"""Readers of question sets, a file a format; `fovea.pipelines.evaluation.questions` chooses."""
