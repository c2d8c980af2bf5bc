"""The worker process: one backend, one device, one thread that does the work."""
