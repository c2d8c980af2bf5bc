"""forge's hip backend."""
