"""Pictures: what the attention of a model looks at, and the graph of its layers."""
