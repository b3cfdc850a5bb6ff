"""Keys in any PKCS#11 module. Nothing outside this package knows the module's API.

For one thread of one process: the signer's.
"""

from hashseal_server.keystore.pkcs11.sessions import TokenAccess
from hashseal_server.keystore.pkcs11.store import Pkcs11KeyStore
from hashseal_server.keystore.pkcs11.wrapping import make_wrapping_key

__all__ = ["Pkcs11KeyStore", "TokenAccess", "make_wrapping_key"]
