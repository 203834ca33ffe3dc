"""A write job that lasts SECONDS: long.py ME OTHER SECONDS. It prints what test/engines reads."""

import json
import sys
import time

from pyspark.sql import SparkSession

me, other, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
spark = SparkSession.builder.appName(me).getOrCreate()
parts = 8
began = time.time()


def slow(batches):
    time.sleep(seconds / parts)
    yield from batches


# One job on one core: its tasks write one after another, and its commit comes last.
table = spark.read.csv(f"s3a://of-{me}/own", header=True).repartition(parts)
table.mapInPandas(slow, table.schema).write.mode("overwrite").parquet(f"s3a://of-{me}/long")
read = spark.read.parquet(f"s3a://of-{me}/long").collect()
if time.time() - began < seconds:
    sys.exit("the job was too short")
try:
    leaked, words = str(spark.read.csv(f"s3a://of-{other}/own", header=True).collect()), ""
except Exception as e:
    leaked, words = "", " ".join(str(e).split())[:2000]
print(json.dumps({"version": spark.version, "owners": sorted({r["owner"] for r in read}), "rows": len(read), "written": len({r["i"] for r in read}), "leaked": leaked, "refused": words}))
