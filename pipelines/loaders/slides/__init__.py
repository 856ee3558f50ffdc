"""What a slide says, shape by shape."""
