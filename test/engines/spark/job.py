"""One person's Spark job, for ME and not OTHER. It prints what test/engines reads."""

import json
import os
import sys
import time
import zipfile

from pyspark import SparkFiles
from pyspark.sql import SparkSession

me, other = os.environ["ME"], os.environ["OTHER"]
spark = SparkSession.builder.appName(me).getOrCreate()


def meet():
    place = os.environ["MEETING"]
    open(os.path.join(place, me), "w").close()
    for _ in range(3600):
        if os.path.exists(os.path.join(place, other)):
            return
        time.sleep(0.05)
    sys.exit(f"{other} does not come")


def own():
    return spark.read.csv(f"s3a://of-{me}/own", header=True)


meet()
read = own().collect()
own().repartition(4).write.mode("overwrite").parquet(f"s3a://of-{me}/spark")
written = spark.read.parquet(f"s3a://of-{me}/spark").count()

# Calls by which files were opened before there were data frames, files and jars that are
# sent to executors, and a file system of the machine.
sc, mine = spark.sparkContext, f"s3a://of-{me}/own"
old = "org.apache.hadoop.mapred.TextInputFormat", "org.apache.hadoop.io.LongWritable", "org.apache.hadoop.io.Text"
new = "org.apache.hadoop.mapreduce.lib.input.TextInputFormat", *old[1:]
here = os.path.expanduser("~/here")
with zipfile.ZipFile(here + ".jar", "w") as jar:
    jar.writestr("whose", me)
target = sc._jvm.org.apache.hadoop.fs.Path(f"s3a://of-{me}/lib/whose.jar")
target.getFileSystem(sc._jsc.hadoopConfiguration()).copyFromLocalFile(sc._jvm.org.apache.hadoop.fs.Path("file://" + here + ".jar"), target)
sc._jsc.addJar(f"s3a://of-{me}/lib/whose.jar")
sc.addFile(mine + "/own.csv")
own().write.mode("overwrite").csv("file://" + here)
lines = len(read) + 1  # with the names of the columns
every_day = [
    sc.textFile(mine).count() == lines,
    sc.hadoopFile(mine, *old).count() == lines,
    sc.hadoopRDD(*old, conf={"mapreduce.input.fileinputformat.inputdir": mine}).count() == lines,
    sc.newAPIHadoopFile(mine, *new).count() == lines,
    sc.parallelize(range(4), 4).map(lambda _: sum(1 for _ in open(SparkFiles.get("own.csv")))).distinct().collect() == [lines],
    list(sc._jsc.sc().listJars().mkString().split()) != [],
    sorted(os.listdir(here)) != [],
]

# The other provider that asks the endpoint for containers.
for name, value in ("fs.s3a.aws.credentials.provider", "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider"), ("fs.s3a.impl.disable.cache", "true"):
    spark.conf.set(name, value)
if own().count() != len(read):
    sys.exit("by IAMInstanceCredentialsProvider there is something else to read")

# Whose account the executors have, and on which of the machines they are.
places = spark.sparkContext.parallelize(range(8), 8).map(lambda _: (time.sleep(0.5), os.getuid(), os.environ.get("MACHINE", ""))[1:]).distinct().collect()
try:
    leaked, words = str(spark.read.csv(f"s3a://of-{other}/own", header=True).collect()), ""
except Exception as e:
    leaked, words = "", str(e)
    at = words.find("AccessDenied")
    words = words[max(at, 0):][:400]
print(json.dumps({"version": f"{spark.version} with Hadoop {spark._jvm.org.apache.hadoop.util.VersionInfo.getVersion()}", "owners": sorted({r["owner"] for r in read}), "rows": len(read), "written": written,
                  "leaked": leaked, "refused": " ".join(words.split()), "uids": sorted({u for u, _ in places}), "machines": sorted({m for _, m in places}), "every_day": every_day}))
spark.stop()
