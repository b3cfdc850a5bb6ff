"""Font files, each with its licence in it; what they are and where from: see README.md here."""
