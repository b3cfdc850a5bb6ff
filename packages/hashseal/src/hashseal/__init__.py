"""Sign PDF documents by their hash, write the answer into the file, verify it.

```python
from pathlib import Path
from hashseal.client.http import Client
from hashseal.client.signing import sign

with Client("https://sign.example.com", token) as client:
    client.run(sign(Path("invoice.pdf"), Path("invoice.signed.pdf")))
```
"""
