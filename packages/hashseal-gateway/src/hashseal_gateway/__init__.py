"""The e-Signature System that will stand on the customer's premises; only its shell is here yet."""
