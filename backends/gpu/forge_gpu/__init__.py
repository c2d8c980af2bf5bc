"""What GPU backends share: the plan of a graph, its kernels' steps, memory and decoding."""
