import pyarrow
from pyarrow import csv, dataset, fs, parquet

import common

s3 = fs.S3FileSystem(endpoint_override=common.host, scheme=common.endpoint.split("://")[0], region="us-east-1")
common.meet()
with s3.open_input_stream(common.own) as f:
    table = csv.read_csv(f)
parquet.write_table(table, f"of-{common.me}/pyarrow/copy.parquet", filesystem=s3)
back = dataset.dataset(f"of-{common.me}/pyarrow", filesystem=s3).count_rows()
common.tell(pyarrow.__version__, [(r["owner"], r["i"]) for r in table.to_pylist()], back, lambda: s3.open_input_stream(common.others).read())
