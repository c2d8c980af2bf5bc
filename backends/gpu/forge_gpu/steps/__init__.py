"""What is recorded for each op of a graph."""
