"""The command line: the only place that sees producers, bus and consumers at once."""
