"""The API of the Cloud Signature Consortium, versions 1.0.4.0 and 2.0.0.2, by hash only."""
