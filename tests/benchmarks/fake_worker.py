"""A worker whose figures are given on its command line, to try the driver with.

    fake_worker.py MODE     fine, error, text, dies, babbles, odd or mute

Its stage "a" takes 2 ms and "b" 4 ms, in name only.
"""

import json
import sys
import time
from typing import Any

TIMES = {"a": 2.0, "b": 4.0}
COUNTS: dict[str, Any] = {
    "launches": {"depth frame": 800, "backbone step": 300},
    "bytes": {"depth frame": 300_000_000},
    "syncs": {"per frame": 2.0, "places": {}},
    "memory": 1_000_000_000,
}


def answer(mode: str, request: dict[str, str]) -> dict[str, Any]:
    if mode == "error" and request.get("run") == "b":
        return {"error": "ValueError: no b today"}
    if mode == "text":
        return {"ms": "two"}
    if request.get("run") in TIMES:
        return {"ms": TIMES[request["run"]]}
    if request.get("count") in COUNTS:
        return {"value": COUNTS[request["count"]]}
    return {"missing": "no such figure"}


def main(mode: str) -> None:
    if mode == "mute":
        time.sleep(60)
    stages = [*TIMES, "first audio"]
    print(json.dumps({"ready": {"stages": stages, "device": "cpu"}}), flush=True)
    for line in sys.stdin:
        if mode == "dies":
            sys.exit("out of memory")
        if mode == "babbles":
            print("loading the model ...", flush=True)
        elif mode == "odd":
            print("[1]", flush=True)
        else:
            print(json.dumps(answer(mode, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[-1])
