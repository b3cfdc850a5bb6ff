"""Sign hashes: the use case that everything else serves."""
