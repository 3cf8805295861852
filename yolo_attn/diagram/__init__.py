"""The graph of a model's layers as a picture."""

from .picture import draw_graph

__all__ = ["draw_graph"]
