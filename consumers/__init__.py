"""Consumers: whatever takes events off the log."""
