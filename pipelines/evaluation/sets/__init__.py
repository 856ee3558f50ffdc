"""Readers of question sets, a file a format; `pipelines.evaluation.questions` chooses."""
