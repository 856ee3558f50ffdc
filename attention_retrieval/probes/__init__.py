"""Which heads of a model look things up, and how much a text needs them."""
