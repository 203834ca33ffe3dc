"""A stream that runs for SECONDS: stream.py ME OTHER SECONDS. It prints what test/engines reads."""

import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql.functions import lit

me, other, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
spark = SparkSession.builder.appName(me).getOrCreate()
rows, steps = 1000, 40
began = time.time()
fed, place = f"s3a://of-{me}/fed", f"s3a://of-{me}/stream"


def feed(step):
    spark.range(step * rows // steps, (step + 1) * rows // steps, 1, 1).select(lit(me).alias("owner"), "id").write.mode("append").csv(fed)


feed(0)
query = (spark.readStream.schema("owner string, id long").csv(fed)
         .writeStream.format("parquet").option("checkpointLocation", place + "-checkpoints").trigger(processingTime="2 seconds").start(place))
for step in range(1, steps):
    time.sleep(max(0, began + seconds * step / steps - time.time()))
    feed(step)
    if query.exception():
        sys.exit(str(query.exception()))
query.processAllAvailable()
batches = query.lastProgress["batchId"]
query.stop()
if time.time() - began < seconds * (steps - 1) / steps or batches < 5:
    sys.exit(f"the stream was too short: {batches} batches")
read = spark.read.parquet(place).collect()
try:
    leaked, words = str(spark.readStream.schema("a string").csv(f"s3a://of-{other}/own").writeStream.format("noop").option("checkpointLocation", place + "-trespass").trigger(availableNow=True).start().awaitTermination()), ""
except Exception as e:
    leaked, words = "", " ".join(str(e).split())[:2000]
print(json.dumps({"version": spark.version, "owners": sorted({r["owner"] for r in read}), "rows": len(read), "written": len({r["id"] for r in read}), "leaked": leaked, "refused": words}))
