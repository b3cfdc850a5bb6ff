"""Key stores: one port, one adapter per technology."""
