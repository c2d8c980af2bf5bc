"""Graphs as programs of compiled kernels."""
