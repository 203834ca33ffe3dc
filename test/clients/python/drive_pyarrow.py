"""pyarrow's own file system, on AWS's SDK for C++."""

import shutil

import pyarrow
from pyarrow import fs

import drive
from drive import BUCKET, PREFIX, SOURCE

s3 = fs.S3FileSystem(
    access_key=drive.ACCESS_KEY, secret_key=drive.SECRET_KEY, session_token=drive.SESSION_TOKEN,
    region=drive.REGION, scheme=drive.ENDPOINT.split("://")[0], endpoint_override=drive.HOST,
    force_virtual_addressing=False, **({"tls_ca_file_path": drive.CA} if drive.CA else {}))


def place(name):
    return f"{BUCKET}/{PREFIX}{name}"


def get(name):
    with s3.open_input_file(place(name)) as f:
        return f.read()


def write(name, data):
    with s3.open_output_stream(place(name)) as f:
        f.write(data)


def put():
    write("put.csv", drive.content("small.csv"))
    drive.keep("put.csv", get("put.csv"))


def stream():
    with s3.open_output_stream(place("stream.csv")) as f:
        shutil.copyfileobj(drive.Unseekable("small.csv"), f)
    drive.keep("stream.csv", get("stream.csv"))


def multipart():
    write("multipart.csv", drive.content("big.csv"))
    drive.keep("multipart.csv", get("multipart.csv"))


def copy():
    s3.copy_file(f"{BUCKET}/{SOURCE}", place("copy.csv"))
    drive.keep("copy.csv", get("copy.csv"))


def presign():
    try:
        return {"url": s3.presign(f"{BUCKET}/{SOURCE}")}
    except AttributeError as e:
        raise drive.Lacking(e)


def keys(prefix):
    entries = s3.get_file_info(fs.FileSelector(f"{BUCKET}/{prefix}", recursive=True))
    return [e.path.removeprefix(BUCKET + "/") for e in entries if e.type == fs.FileType.File]


drive.run(pyarrow.__version__, {
    "put": put, "stream": stream, "multipart": multipart, "copy": copy, "presign": presign,
    "list": lambda: drive.keep_list(keys(drive.MANY)),
    "odd": lambda: drive.odd(lambda name: write(name, drive.content(name)), get, lambda: keys(PREFIX + "odd/"))})
