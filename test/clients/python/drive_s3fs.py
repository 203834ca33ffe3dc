"""s3fs, the file system of fsspec, as pandas and Dask use it."""

import os
import shutil

import s3fs

import drive
from drive import BUCKET, PREFIX, SOURCE

fs = s3fs.S3FileSystem(
    key=drive.ACCESS_KEY, secret=drive.SECRET_KEY, token=drive.SESSION_TOKEN, endpoint_url=drive.ENDPOINT,
    client_kwargs={"region_name": drive.REGION} | ({"verify": drive.CA} if drive.CA else {}),
    config_kwargs={"signature_version": "s3v4", "s3": {"addressing_style": "path"}},
    use_listings_cache=False)


def place(name):
    return f"{BUCKET}/{PREFIX}{name}"


def put():
    fs.pipe_file(place("put.csv"), drive.content("small.csv"))
    drive.keep("put.csv", fs.cat_file(place("put.csv")))


def stream():
    with fs.open(place("stream.csv"), "wb") as f:
        shutil.copyfileobj(drive.Unseekable("small.csv"), f)
    drive.keep("stream.csv", fs.cat_file(place("stream.csv")))


def multipart():
    fs.put_file(os.path.join(drive.FILES, "big.csv"), place("multipart.csv"), chunksize=drive.PART)
    fs.get_file(place("multipart.csv"), os.path.join(drive.OUT, "multipart.csv"))


def copy():
    fs.cp_file(f"{BUCKET}/{SOURCE}", place("copy.csv"))
    drive.keep("copy.csv", fs.cat_file(place("copy.csv")))


def keys(prefix):
    return [path.removeprefix(BUCKET + "/") for path in fs.find(f"{BUCKET}/{prefix}")]


drive.run(s3fs.__version__, {
    "put": put, "stream": stream, "multipart": multipart, "copy": copy,
    "presign": lambda: {"url": fs.sign(f"{BUCKET}/{SOURCE}", expiration=300)},
    "list": lambda: drive.keep_list(keys(drive.MANY)),
    "odd": lambda: drive.odd(
        lambda name: fs.pipe_file(place(name), drive.content(name)),
        lambda name: fs.cat_file(place(name)),
        lambda: keys(PREFIX + "odd/"))})
