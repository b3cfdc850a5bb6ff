"""The pure core of Hashseal: what service and SDK share. No I/O of any kind in here."""
