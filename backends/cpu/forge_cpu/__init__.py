"""forge's cpu backend."""
