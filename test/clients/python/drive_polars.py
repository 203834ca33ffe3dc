"""polars, whose cloud reader and writer are the Rust crate object_store."""

import io
import os

os.environ["POLARS_UPLOAD_CHUNK_SIZE"] = str(5 << 20)

import polars as pl

import drive
from drive import BUCKET, PREFIX

options = {
    "aws_region": drive.REGION, "aws_endpoint_url": drive.ENDPOINT, "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false"}
if drive.ACCESS_KEY:
    options |= {"aws_access_key_id": drive.ACCESS_KEY, "aws_secret_access_key": drive.SECRET_KEY}
if drive.SESSION_TOKEN:
    options["aws_session_token"] = drive.SESSION_TOKEN


# polars looks for keys as the crate object_store does, or asks boto3.
provider = {"credential_provider": pl.CredentialProviderAWS()} if os.environ.get("CLIENT_BOTO3") else {}


def place(name):
    return f"s3://{BUCKET}/{PREFIX}{name}"


def get(name, glob=False):
    frame = pl.scan_csv(place(name), storage_options=options, **provider, glob=glob).collect()
    return frame.write_csv().encode()


def write(name, data):
    pl.read_csv(io.BytesIO(data)).write_csv(place(name), storage_options=options, **provider)


def put():
    write("put.csv", drive.content("small.csv"))
    drive.keep("put.csv", get("put.csv"))


def stream():
    rows = pl.scan_csv(f"{drive.FILES}/small.csv")  # nothing is read before the sink asks
    rows.sink_csv(place("stream.csv"), storage_options=options, **provider)
    drive.keep("stream.csv", get("stream.csv"))


def multipart():
    pl.scan_csv(f"{drive.FILES}/big.csv").sink_csv(place("multipart.csv"), storage_options=options, **provider)
    drive.keep("multipart.csv", get("multipart.csv"))


def lacking(name):
    try:
        getattr(pl, name)
    except AttributeError as e:
        raise drive.Lacking(e)


def list_many():
    frame = pl.scan_csv(f"s3://{BUCKET}/{drive.MANY}*.csv", storage_options=options, **provider, include_file_paths="file")
    files = frame.select("file").unique().collect().get_column("file")
    drive.keep_list(f.removeprefix(f"s3://{BUCKET}/") for f in files)


def odd_list():
    frame = pl.scan_csv(place("odd/**/*"), storage_options=options, **provider, include_file_paths="file")
    files = frame.select("file").unique().collect().get_column("file")
    return [f.removeprefix(f"s3://{BUCKET}/") for f in files]


drive.run(pl.__version__, {
    "put": put, "stream": stream, "multipart": multipart,
    "copy": lambda: lacking("copy_file"), "presign": lambda: lacking("presign"),
    "list": list_many,
    "odd": lambda: drive.odd(lambda name: write(name, drive.content(name)), get, odd_list)})
