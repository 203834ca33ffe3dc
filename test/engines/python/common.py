"""What the drivers of libraries share: they are started as `driver.py BLOCK ME OTHER`.

BLOCK is a file with what `carnet configure --for` printed for the library, where there
is such a thing. A driver calls `tell` once, with the release of its library, what it
read of its own, what it read of what it wrote, and a function that reads what belongs
to the other person. That has to fail, and the library's own words are kept.
"""

import json
import os
import sys
import threading

block, me, other = sys.argv[1:4]
own, others = f"of-{me}/own/own.csv", f"of-{other}/own/own.csv"
endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
host = endpoint.split("://")[1]


def meet():
    """Waits until the other person's program is at work, too."""
    place = os.environ["MEETING"]
    open(os.path.join(place, me), "w").close()
    for _ in range(1200):
        if os.path.exists(os.path.join(place, other)):
            return
        threading.Event().wait(0.05)
    sys.exit(f"{other} does not come")


def tell(version, read, wrote, trespass):
    try:
        leaked = str(trespass())
    except Exception as e:
        leaked, words = "", f"{type(e).__name__}: {e}"
    else:
        words = ""
    print(json.dumps({"version": version, "owners": sorted({str(o) for o, _ in read}), "rows": len(read), "written": wrote, "leaked": leaked, "refused": " ".join(words.split())}))
