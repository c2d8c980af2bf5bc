"""A backend in a process of its own, driven call by call: its crash fails one test."""

from forge.testing.remote.backend import RemoteBackend, RemoteExecutable

__all__ = ["RemoteBackend", "RemoteExecutable"]
