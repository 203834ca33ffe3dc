"""DuckDB with its httpfs extension, by SQL alone."""

import os
import threading

import duckdb
import duckdb_extension_httpfs

import drive
from drive import BUCKET, PREFIX, SOURCE


def text(value):
    return "'" + value.replace("'", "''") + "'"


def load(db, package, name):
    # As INSTALL would have fetched it; here it comes as a package.
    extension = os.path.join(package.__path__[0], "extensions", "v" + duckdb.__version__, name + ".duckdb_extension")
    db.execute(f"LOAD {text(extension)}")


def chain(db):
    """Keys as the extension aws finds them; CLIENT_CHAIN says where it looks."""
    import duckdb_extension_aws

    load(db, duckdb_extension_aws, "aws")
    where = os.environ.get("CLIENT_CHAIN")
    return "PROVIDER credential_chain" + (f", CHAIN {text(where)}" if where else "")


def connect():
    db = duckdb.connect()
    load(db, duckdb_extension_httpfs, "httpfs")
    keys = f"KEY_ID {text(drive.ACCESS_KEY)}, SECRET {text(drive.SECRET_KEY)}" if drive.ACCESS_KEY else chain(db)
    token = f", SESSION_TOKEN {text(drive.SESSION_TOKEN)}" if drive.SESSION_TOKEN else ""
    db.execute(f"""CREATE SECRET carnet (TYPE s3, {keys}{token},
        REGION {text(drive.REGION)}, ENDPOINT {text(drive.HOST)}, URL_STYLE 'path', USE_SSL {drive.ENDPOINT.startswith('https')})""")
    if drive.CA:
        db.execute(f"SET ca_cert_file = {text(drive.CA)}")
    return db


db = connect()


def place(name):
    return text(f"s3://{BUCKET}/{PREFIX}{name}")


def get(name):
    return db.execute(f"SELECT content FROM read_blob({place(name)})").fetchone()[0]


def write(name, source):
    db.execute(f"COPY (FROM read_csv({text(source)}, hive_partitioning = false)) TO {place(name)} (FORMAT csv, HEADER)")


def put():
    db.execute(f"CREATE TEMP TABLE small AS FROM read_csv({text(os.path.join(drive.FILES, 'small.csv'))})")
    db.execute(f"COPY small TO {place('put.csv')} (FORMAT csv, HEADER)")
    drive.keep("put.csv", get("put.csv"))


def stream():
    pipe = os.path.join(drive.OUT, "pipe")
    os.mkfifo(pipe)

    def feed():
        with open(pipe, "wb") as f:
            f.write(drive.content("small.csv"))

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    db.execute(f"COPY (FROM read_csv({text(pipe)}, header = true, columns = {{'i': 'BIGINT'}})) TO {place('stream.csv')} (FORMAT csv, HEADER)")
    feeder.join()
    drive.keep("stream.csv", get("stream.csv"))


def multipart():
    db.execute("SET s3_uploader_max_filesize = '50GB'")  # parts of 5 MB
    write("multipart.csv", os.path.join(drive.FILES, "big.csv"))
    drive.keep("multipart.csv", get("multipart.csv"))


def lacking(call):
    try:
        db.execute(f"SELECT {call}")
    except duckdb.CatalogException as e:
        raise drive.Lacking(e)


def keys(pattern):
    return [row[0].removeprefix(f"s3://{BUCKET}/") for row in db.execute(f"SELECT file FROM glob({text(pattern)})").fetchall()]


def odd():
    names = lambda: keys(f"s3://{BUCKET}/{PREFIX}odd/**")
    # Keys are taken as they stand: no globs, no settings after a question mark.
    db.execute("SET s3_url_compatibility_mode = true")
    try:
        told = drive.odd(lambda name: write(name, os.path.join(drive.FILES, name)), get, lambda: [])
    finally:
        db.execute("SET s3_url_compatibility_mode = false")
    drive.keep_list(names(), "odd.list")
    return told


drive.run(duckdb.__version__, {
    "put": put, "stream": stream, "multipart": multipart,
    "copy": lambda: lacking(f"s3_copy('{SOURCE}', 'copy.csv')"), "presign": lambda: lacking(f"s3_presign('{SOURCE}')"),
    "list": lambda: drive.keep_list(keys(f"s3://{BUCKET}/{drive.MANY}*.csv")), "odd": odd})
