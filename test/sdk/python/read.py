"""boto3, with nothing but its environment: who it is, what it lists and reads,
and how it is refused. Prints one JSON object."""

import json

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="sales", Prefix="orders/")
try:
    s3.get_object(Bucket="hr", Key="salaries/2025.csv")
    refused = "allowed"
except ClientError as e:
    refused = e.response["Error"]["Code"]
print(json.dumps({
    "version": boto3.__version__,
    "arn": boto3.client("sts").get_caller_identity()["Arn"],
    "keys": sum(len(page.get("Contents", [])) for page in pages),
    "bytes": len(s3.get_object(Bucket="sales", Key="products/products.csv")["Body"].read()),
    "refused": refused,
}))
