"""Drives S3 with the real boto3, as whoever the environment says.

usage: scenario.py NAME ARGUMENT...

Each scenario prints one JSON object. An S3 or STS error is printed as
{"error": CODE, "status": STATUS, "message": TEXT}: the test compares it.
Credentials and endpoints come only from the environment or the profile, as
they would for any user of boto3.
"""

import hashlib
import io
import json
import os
import re
import ssl
import sys
import time
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024


def s3():
    return boto3.client("s3")


def identity():
    answer = boto3.client("sts").get_caller_identity()
    return {k: answer[k] for k in ("UserId", "Account", "Arn")}


def listing(bucket, prefix=""):
    pages = s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {"keys": [o["Key"] for page in pages for o in page.get("Contents", [])]}


def get(bucket, key):
    body = s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def roundtrip(bucket, key):
    """Put, head, get, copy, list and delete small objects."""
    client = s3()
    data = os.urandom(70_001)
    client.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"who": "test"})
    head = client.head_object(Bucket=bucket, Key=key)
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    part = client.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")["Body"].read()
    client.copy_object(Bucket=bucket, Key=key + ".copy", CopySource={"Bucket": bucket, "Key": key})
    copied = client.get_object(Bucket=bucket, Key=key + ".copy")["Body"].read()
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": key + ".copy"}]})
    left = listing(bucket, key)["keys"]
    return {
        "equal": body == data and copied == data and part == data[10:20],
        "length": head["ContentLength"],
        "metadata": head["Metadata"],
        "left": left,
    }


def multipart(bucket, key, mib):
    """Upload and download in parts, compare checksums."""
    size = int(mib) * MIB
    block = os.urandom(MIB)
    data = block * int(mib)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    client = s3()
    client.upload_fileobj(io.BytesIO(data), bucket, key, Config=config)
    out = io.BytesIO()
    client.download_fileobj(bucket, key, out, Config=config)
    etag = client.head_object(Bucket=bucket, Key=key)["ETag"]
    client.delete_object(Bucket=bucket, Key=key)
    return {"equal": hashlib.sha256(out.getvalue()).digest() == hashlib.sha256(data).digest(), "size": size, "parts": "-" in etag}


def presigned(bucket, key):
    """boto3 still presigns with Signature Version 2 unless it is told."""
    client = boto3.client("s3", config=Config(signature_version="s3v4"))
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
    trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    with urllib.request.urlopen(url, context=trust if url.startswith("https:") else None) as answer:
        body = answer.read()
    return {"status": answer.status, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def buckets():
    return {"buckets": [b["Name"] for b in s3().list_buckets()["Buckets"]]}


def long_read(bucket, key, duration):
    """Reads one object again and again, with one client, for a Go duration."""
    seconds = sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"([0-9.]+)([hms])", duration))
    session = boto3.Session()
    client, who = session.client("s3"), session.client("sts")
    began, reads, keys, arns = time.monotonic(), 0, [], set()
    while time.monotonic() - began < seconds:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
        reads += 1
        used = session.get_credentials().get_frozen_credentials().access_key
        if used not in keys:
            keys.append(used)
            arns.add(who.get_caller_identity()["Arn"])
        time.sleep(min(5, seconds / 40))
    return {"reads": reads, "keys": keys, "arns": sorted(arns), "seconds": time.monotonic() - began}


SCENARIOS = {f.__name__: f for f in (identity, listing, get, roundtrip, multipart, presigned, buckets, long_read)}


def main():
    name, *arguments = sys.argv[1:]
    try:
        result = SCENARIOS[name](*arguments)
    except ClientError as err:
        result = {
            "error": err.response["Error"]["Code"],
            "message": err.response["Error"].get("Message", ""),
            "status": err.response["ResponseMetadata"]["HTTPStatusCode"],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
