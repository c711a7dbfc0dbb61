"""The demo: a shop that sends events, and a collector that is sometimes away."""
