"""Pipelines over HTTP: search, answers, documents, an OpenAI-compatible endpoint (extra `serve`)."""
