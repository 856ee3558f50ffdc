"""Processes that read files and encode texts for one ingestion, on this machine or on a Ray cluster."""
