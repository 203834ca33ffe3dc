"""One person's connection to the shared server: connect.py ADDRESS ME OTHER. The person's
gateway key is in KEYS, the file that carnet gateway-key make printed. It prints what
test/engines reads."""

import json
import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql.functions import expr, udf

address, me, other = sys.argv[1:4]
key = json.load(open(os.environ["KEYS"]))


def meet():
    place = os.environ["MEETING"]
    open(os.path.join(place, me), "w").close()
    for _ in range(3600):
        if os.path.exists(os.path.join(place, other)):
            return
        time.sleep(0.05)
    sys.exit(f"{other} does not come")


spark = SparkSession.builder.remote(f"sc://{address}/;user_id={me}").create()
spark.conf.set("fs.s3a.access.key", key["gateway_key"]["access_key_id"])
spark.conf.set("fs.s3a.secret.key", key["secret_access_key"])
meet()

mine, theirs = f"s3a://of-{me}", f"s3a://of-{other}"
read = spark.read.csv(f"{mine}/own", header=True).collect()
spark.read.csv(f"{mine}/own", header=True).repartition(4).write.mode("overwrite").parquet(f"{mine}/connect")
written = spark.read.parquet(f"{mine}/connect").groupBy("owner").count().collect()[0]["count"]

# What people do every day goes on.
spark.read.parquet(f"{mine}/connect").createOrReplaceTempView("copy")
spark.conf.set("spark.sql.shuffle.partitions", "3")
every_day = [
    spark.sql("SELECT max(int(i)) FROM copy").collect()[0][0] == 999,
    spark.sql(f"WITH a AS (SELECT * FROM parquet.`{mine}/connect`) SELECT (SELECT count(*) FROM a), EXISTS (SELECT 1 FROM copy)").collect()[0][0] == 1000,
    spark.createDataFrame([(1, "x")], ["a", "b"]).collect()[0]["b"] == "x",
    spark.table("copy").join(spark.range(10), expr("i = id")).count() == 10,
    spark.sql("SET spark.sql.shuffle.partitions = 4").collect()[0]["value"] == "4",
]

reflect = "reflect('java.lang.System', 'getProperty', 'user.dir')"
with_endpoint = f"parquet.`{mine}/connect` WITH ('fs.s3a.endpoint' = 'http://127.0.0.1:1')"
attacks = {
    "a function in Python": lambda: spark.range(1).select(udf(lambda x: x)("id")).collect(),
    "a registered function in Python": lambda: spark.udf.register("f", lambda x: x),
    "a function over batches": lambda: spark.range(3).mapInPandas(lambda batches: batches, "id long").collect(),
    "addArtifact": lambda: spark.addArtifact(__file__, pyfile=True),
    "a stream": lambda: spark.readStream.format("rate").load().writeStream.format("memory").queryName("q").start(),
    "ADD JAR": lambda: spark.sql("ADD JAR '/tmp/x.jar'").collect(),
    "a function from a jar": lambda: spark.sql("CREATE TEMPORARY FUNCTION f AS 'x.Y' USING JAR '/tmp/x.jar'").collect(),
    "a function in SQL": lambda: spark.sql("CREATE TEMPORARY FUNCTION g() RETURNS INT RETURN 1").collect(),
    "a script": lambda: spark.sql("SELECT TRANSFORM (id) USING 'id' AS (x) FROM range(1)").collect(),
    "a Java method": lambda: spark.sql(f"SELECT {reflect}").collect(),
    "a Java method, tried": lambda: spark.sql(f"SELECT try_{reflect}").collect(),
    "a Java method in a filter": lambda: spark.range(3).where(f"{reflect} IS NOT NULL").collect(),
    "a Java method in a subquery": lambda: spark.sql(f"SELECT (SELECT {reflect})").collect(),
    "a Java method in a common table": lambda: spark.sql(f"WITH a AS (SELECT {reflect} x) SELECT * FROM a").collect(),
    "a Java method in a view": lambda: spark.sql(f"CREATE TEMPORARY VIEW z AS SELECT {reflect} x").collect(),
    "a Java method in a write": lambda: spark.sql(f"SELECT {reflect} x").write.mode("overwrite").parquet(f"{mine}/connect2"),
    "a Java method in EXECUTE IMMEDIATE": lambda: spark.sql('EXECUTE IMMEDIATE "SELECT ' + reflect + '"').collect(),
    "a Java method in a SQL script": lambda: spark.sql(f"BEGIN SELECT {reflect}; END").collect(),
    "a file of the server": lambda: spark.read.text("file:///etc/hostname").collect(),
    "a file of the server in SQL": lambda: spark.sql("SELECT * FROM text.`/etc/hostname`").collect(),
    "a write to the server": lambda: spark.range(1).write.mode("overwrite").parquet("file:///tmp/leak"),
    "INSERT OVERWRITE DIRECTORY": lambda: spark.sql("INSERT OVERWRITE DIRECTORY '/tmp/leak' USING csv SELECT 1").collect(),
    "a table over the server's files": lambda: spark.sql("CREATE TABLE t USING text LOCATION '/etc'").collect(),
    "a table": lambda: spark.sql("CREATE TABLE t2 USING parquet AS SELECT 1 x").collect(),
    "another format": lambda: spark.read.format("jdbc").option("url", "jdbc:derby:memory:x;create=true").option("dbtable", "t").load().collect(),
    "another format in SQL": lambda: spark.sql("CREATE TEMPORARY VIEW j USING jdbc OPTIONS (url 'jdbc:derby:memory:x;create=true', dbtable 't')").collect(),
    "another provider of keys": lambda: spark.read.option("fs.s3a.aws.credentials.provider", "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider").csv(f"{mine}/own").count(),
    "another file system": lambda: spark.conf.set("fs.s3a.impl", "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"),
    "another file system in SQL": lambda: spark.sql("SET fs.s3a.impl = org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme").collect(),
    "file systems kept for others": lambda: spark.conf.set("fs.s3a.impl.disable.cache", "false"),
    "another endpoint in SQL": lambda: spark.sql(f"SELECT * FROM {with_endpoint}").collect(),
    "another endpoint in a common table": lambda: spark.sql(f"WITH a AS (SELECT * FROM {with_endpoint}) SELECT * FROM a").collect(),
    "another endpoint in an INSERT": lambda: spark.sql(f"INSERT INTO {with_endpoint} VALUES ('x', 1)").collect(),
    "data kept for others": lambda: spark.range(5).cache().count(),
    "data kept for others in SQL": lambda: spark.sql("CACHE TABLE copy").collect(),
    "a view for others": lambda: spark.range(2).createOrReplaceGlobalTempView("g"),
    "a view for others in SQL": lambda: spark.sql("CREATE GLOBAL TEMPORARY VIEW g2 AS SELECT 1").collect(),
    "the other's view": lambda: spark.table("global_temp.g").collect(),
    "another catalog": lambda: spark.conf.set("spark.sql.catalog.c", "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog"),
}


def says(f):
    try:
        return False, str(f())
    except Exception as e:
        return True, " ".join(str(e).split())[:600]


through, unclear = [], []
for name, attack in attacks.items():
    refused, words = says(attack)
    if not refused:
        through.append(f"{name}: {words}")
    elif "this Spark server is shared" not in words and name != "the other's view":
        unclear.append(f"{name}: {words}")
refused, words = says(lambda: spark.read.csv(f"{theirs}/own", header=True).collect())
print(json.dumps({"version": spark.version, "owners": sorted({r["owner"] for r in read}), "rows": len(read), "written": written,
                  "leaked": "" if refused else words, "refused": words if refused else "", "through": through, "unclear": unclear, "every_day": every_day, "attacks": len(attacks)}))
