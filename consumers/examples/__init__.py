"""Consumers to run as they are, or to copy: they use nothing of Snowbus but what `snowbus.consumers` exports."""
