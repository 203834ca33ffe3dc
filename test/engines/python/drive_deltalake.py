import deltalake
import pyarrow as pa

import common

at = {"AWS_ALLOW_HTTP": "true"} if common.endpoint.startswith("http://") else {}
place = f"s3://of-{common.me}/delta"
mine = pa.table({"owner": [common.me] * 1000, "i": list(range(1000))})
common.meet()
deltalake.write_deltalake(place, mine, mode="overwrite", storage_options=at)
deltalake.write_deltalake(place, mine, mode="append", storage_options=at)
table = deltalake.DeltaTable(place, storage_options=at)
rows = deltalake.DeltaTable(place, version=table.version() - 1, storage_options=at).to_pyarrow_table().to_pylist()
common.tell(deltalake.__version__, [(r["owner"], r["i"]) for r in rows], table.to_pyarrow_table().num_rows // 2,
            lambda: deltalake.write_deltalake(f"s3://of-{common.other}/delta-of-{common.me}", mine, storage_options=at))
