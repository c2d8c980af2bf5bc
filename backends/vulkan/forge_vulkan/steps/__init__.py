"""One function an op: what it records on a tape."""
