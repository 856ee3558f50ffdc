"""What answers a question, after the passages are found: what the model is told, and what of its answer is so."""
