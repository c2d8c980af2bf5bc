"""The execution graph that every backend compiles."""

from forge.graph.graph import Graph
from forge.graph.signatures import SIGNATURES, Signature, Value, infer
from forge.graph.spec import ROWS, TOKENS, Attr, Node, Op, StateSpec, TensorSpec, WeightSpec

__all__ = [
    "ROWS",
    "SIGNATURES",
    "TOKENS",
    "Attr",
    "Graph",
    "Node",
    "Op",
    "Signature",
    "StateSpec",
    "TensorSpec",
    "Value",
    "WeightSpec",
    "infer",
]
