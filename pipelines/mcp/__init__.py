"""A pipeline as a server of the Model Context Protocol: tools and resources for assistants (extra `mcp`)."""
