import pandas as pd
import s3fs

import common

common.meet()
table = pd.read_csv(f"s3://{common.own}")
table.to_parquet(f"s3://of-{common.me}/pandas/copy.parquet")
back = len(pd.read_parquet(f"s3://of-{common.me}/pandas/copy.parquet"))
common.tell(f"{pd.__version__} with s3fs {s3fs.__version__}", list(table.itertuples(index=False, name=None)), back, lambda: pd.read_csv(f"s3://{common.others}"))
