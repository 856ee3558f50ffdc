"""What joins the wings: the Pipeline, its YAML, ingestion, evaluation, and the command line."""
