"""How many ingest shards there are, asked of the cluster: `python -m infra.cluster.replicas`.

`note` prints the number and keeps it; `check`, the liveness probe, ends with 1 once there is
another number: the pod is then ended in order and starts again with its new share of the tickers.
A cluster that does not answer changes nothing.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SET = "ingest"
NOTE = Path("/tmp/replicas")
ANSWER_S_MAX = 5.0


def replicas(api: str, account: Path) -> int:
    """Return how many the stateful set is to have; OSError where the cluster does not answer."""
    namespace = (account / "namespace").read_text().strip()
    request = urllib.request.Request(
        f"{api}/apis/apps/v1/namespaces/{namespace}/statefulsets/{SET}",
        headers={"Authorization": f"Bearer {(account / 'token').read_text().strip()}"},
    )
    context = None
    if api.startswith("https:"):
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    with urllib.request.urlopen(request, timeout=ANSWER_S_MAX, context=context) as answer:
        return int(json.load(answer)["spec"]["replicas"])


def main(words: list[str], api: str, account: Path = ACCOUNT, note: Path = NOTE) -> int:
    """Note or check; return the exit code."""
    if words == ["note"]:
        found = replicas(api, account)
        note.write_text(str(found))
        print(found)
        return 0
    if words != ["check"]:
        print("replicas: note or check", file=sys.stderr)
        return 2
    try:
        found = replicas(api, account)
    except OSError as error:
        print(f"replicas: {error}: not checked", file=sys.stderr)
        return 0
    return 0 if note.read_text() == str(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "https://kubernetes.default.svc"))
