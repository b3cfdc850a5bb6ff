"""The e-Signature System: stands on the customer's premises, PDF in, signed PDF out."""
