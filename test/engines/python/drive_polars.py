import polars as pl

import common

printed = {}
exec(open(common.block).read(), printed)
at, scan = printed["at"], printed["scan"]
common.meet()
table = pl.scan_csv(f"s3://{common.own}", storage_options=at, credential_provider=None).collect()
table.write_parquet(f"s3://of-{common.me}/polars/copy.parquet", storage_options=at, credential_provider=None)
back = scan(f"s3://of-{common.me}/polars/copy.parquet").select(pl.len()).collect().item()
common.tell(pl.__version__, table.rows(), back, lambda: pl.scan_csv(f"s3://{common.others}", storage_options=at, credential_provider=None).collect())
