"""The signing service: hashes in; file signature, timestamp and validation material out."""
