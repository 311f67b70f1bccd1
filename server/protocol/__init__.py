"""The Model Context Protocol: tools, resources, prompts and sampling, drawn from the engine."""
