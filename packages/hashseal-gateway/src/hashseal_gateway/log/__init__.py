"""The signing log: who had what signed with which seal, and how it ended; digests, not content."""
