"""Documents: taken in, signed through the SDK in a confined process, given back, logged."""
