"""Reads the machine's gauges, in a process of its own: a driver's file may never answer.

It imports nothing but the standard library, so that it starts in a few milliseconds.
"""
