"""boto3: clients as programs make them, path style, presigned with version 4."""

import os

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

import drive
from drive import BUCKET, PREFIX, SOURCE

s3 = boto3.client(
    "s3", endpoint_url=drive.ENDPOINT, verify=drive.CA or None,
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))


def get(key):
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def keys(prefix):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"]


def put():
    s3.put_object(Bucket=BUCKET, Key=PREFIX + "put.csv", Body=drive.content("small.csv"))
    drive.keep("put.csv", get(PREFIX + "put.csv"))


def stream():
    s3.upload_fileobj(drive.Unseekable("small.csv"), BUCKET, PREFIX + "stream.csv")
    drive.keep("stream.csv", get(PREFIX + "stream.csv"))


def multipart():
    parts = TransferConfig(multipart_threshold=drive.PART, multipart_chunksize=drive.PART)
    s3.upload_file(os.path.join(drive.FILES, "big.csv"), BUCKET, PREFIX + "multipart.csv", Config=parts)
    s3.download_file(BUCKET, PREFIX + "multipart.csv", os.path.join(drive.OUT, "multipart.csv"), Config=parts)


def copy():
    s3.copy_object(Bucket=BUCKET, Key=PREFIX + "copy.csv", CopySource={"Bucket": BUCKET, "Key": SOURCE})
    drive.keep("copy.csv", get(PREFIX + "copy.csv"))


def presign():
    return {"url": s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": SOURCE}, ExpiresIn=300)}


def odd():
    return drive.odd(
        lambda name: s3.put_object(Bucket=BUCKET, Key=PREFIX + name, Body=drive.content(name)),
        lambda name: get(PREFIX + name),
        lambda: keys(PREFIX + "odd/"))


drive.run(boto3.__version__, {
    "put": put, "stream": stream, "multipart": multipart, "copy": copy, "presign": presign,
    "list": lambda: drive.keep_list(keys(drive.MANY)), "odd": odd})
