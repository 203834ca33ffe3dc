import glob
import os
import shutil

import duckdb
import duckdb_extension_aws
import duckdb_extension_httpfs

import common

# INSTALL would fetch the extensions; these come from packages.
folder = os.path.expanduser("~/.duckdb/extensions/v%s/%s" % (duckdb.__version__, duckdb.sql("PRAGMA platform").fetchone()[0]))
os.makedirs(folder, exist_ok=True)
for package in duckdb_extension_aws, duckdb_extension_httpfs:
    for path in glob.glob(os.path.join(package.__path__[0], "extensions", "*", "*.duckdb_extension*")):
        shutil.copy(path, folder)

db = duckdb.connect()
db.execute(open(common.block).read())
common.meet()
read = db.sql(f"SELECT owner, i FROM read_csv('s3://{common.own}')").fetchall()
db.execute(f"COPY (SELECT * FROM read_csv('s3://{common.own}')) TO 's3://of-{common.me}/duckdb/copy.parquet'")
back = db.sql(f"SELECT count(*) FROM 's3://of-{common.me}/duckdb/copy.parquet'").fetchone()[0]
common.tell(duckdb.__version__, read, back, lambda: db.sql(f"SELECT count(*) FROM read_csv('s3://{common.others}')").fetchall())
