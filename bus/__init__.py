"""The bus: events, the log they travel on, and what everyone who touches them shares."""
