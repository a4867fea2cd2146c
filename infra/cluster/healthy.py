"""Ask a server that speaks TLS whether it is well: python -m infra.cluster.healthy URL CA.

Ends with 0 where it answers 200 and says of nothing that it is wrong, else with 1 and a line on
standard error. The live service answers 200 while a process beside it is silent, for balancers:
who asks it can stop trading all the same.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request

ANSWER_S_MAX = 3.0


def main(url: str, ca: str) -> int:
    """Ask once; ca: file of who vouches for it."""
    try:
        context = ssl.create_default_context(cafile=ca)
        with urllib.request.urlopen(url, timeout=ANSWER_S_MAX, context=context) as answer:
            wrong = json.load(answer).get("wrong", [])
            if wrong:
                print(f"{url}: {'; '.join(wrong)}", file=sys.stderr)
            return 0 if answer.status == 200 and not wrong else 1
    except (OSError, ValueError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
