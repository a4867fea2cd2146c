"""Sign what an S3 store is asked: AWS Signature Version 4, of a GET without a body.

The clients that can do it take longer to load than `ticklake status` may take.
"""

from __future__ import annotations

import hmac
from functools import reduce
from hashlib import sha256
from urllib.parse import quote, urlsplit

from lake.clock import utc_from_us

ALGORITHM = "AWS4-HMAC-SHA256"
NOTHING = sha256(b"").hexdigest()


def signed(url: str, access_key: str, secret_key: str, region: str, now_us: int) -> dict[str, str]:
    """Return the headers that prove to a store who asks for this URL at this moment.

    url: each of its parameters as name=value, sorted and quoted. now_us: microseconds since 1970;
    stores refuse what differs from their clock by a quarter of an hour. Source: Amazon's "Signature
    Calculations for the Authorization Header", AWS Signature Version 4, service s3.
    """
    place = urlsplit(url)
    stamp = utc_from_us(now_us).strftime("%Y%m%dT%H%M%SZ")
    scope = (stamp[:8], region, "s3", "aws4_request")
    headers = {"host": place.netloc, "x-amz-content-sha256": NOTHING, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = "\n".join(("GET", quote(place.path or "/"), place.query, lines, names, NOTHING))
    text = "\n".join((ALGORITHM, stamp, "/".join(scope), sha256(asked.encode()).hexdigest()))
    key = reduce(_hmac, scope, f"AWS4{secret_key}".encode())
    said = (
        f"{ALGORITHM} Credential={access_key}/{'/'.join(scope)},"
        f"SignedHeaders={names},Signature={_hmac(key, text).hex()}"
    )
    return {**headers, "authorization": said}


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()
