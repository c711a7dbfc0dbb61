"""Producers: whatever puts events on the log."""
