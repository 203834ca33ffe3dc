"""Runs scim2-tester against a SCIM server and prints each result.

usage: tester.py URL  (the bearer token on standard input)

A request that is answered with 429 waits for Retry-After and is sent again, as
provisioning systems do. Ends with 1 when a check failed.
"""
import sys
import time

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server


class Patient(httpx2.HTTPTransport):
    def handle_request(self, request):
        while True:
            answer = super().handle_request(request)
            if answer.status_code != 429:
                return answer
            answer.close()
            time.sleep(float(answer.headers["Retry-After"]))


def main():
    url, bearer = sys.argv[1], sys.stdin.read().strip()
    http = httpx2.Client(base_url=url, headers={"Authorization": "Bearer " + bearer}, transport=Patient(), timeout=30)
    client = SyncSCIMClient(http)
    client.discover()
    failed = passed = 0
    for r in check_server(client):
        good = r.status in (Status.SUCCESS, Status.SKIPPED) or r.status.name == "ACCEPTABLE"
        passed, failed = passed + good, failed + (not good)
        print(r.status.name, r.title, "" if good else r.reason, sep="\t")
        if not good and r.data is not None:
            print("\t", repr(r.data)[:600])
    print(passed, "passed,", failed, "failed")
    sys.exit(1 if failed else 0)


main()
