"""Ask a server that speaks TLS whether it is well: python -m infra.cluster.healthy URL CA.

Ends with 0 where it answers 200, else with 1 and a line on standard error.
"""

from __future__ import annotations

import ssl
import sys
import urllib.request

ANSWER_S_MAX = 3.0


def main(url: str, ca: str) -> int:
    """Ask once; ca: file of who vouches for it."""
    try:
        context = ssl.create_default_context(cafile=ca)
        with urllib.request.urlopen(url, timeout=ANSWER_S_MAX, context=context) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
