"""What a layer holds of a text: rows and zones, the part beside the model, what it did, and how it becomes a file."""
