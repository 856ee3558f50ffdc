"""What a pipeline is set to: read from YAML with places, checked, completed by editors."""
