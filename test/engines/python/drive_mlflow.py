import csv
import io
import os

os.environ["MLFLOW_S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL_S3"]
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow
from mlflow.artifacts import download_artifacts, load_text
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import common

mlflow.set_tracking_uri("file://" + os.path.expanduser("~/mlruns"))
experiment = mlflow.create_experiment("engines", artifact_location=f"s3://of-{common.me}/mlflow")
common.meet()
read = list(csv.reader(io.StringIO(load_text(f"s3://{common.own}"))))[1:]
with mlflow.start_run(experiment_id=experiment) as run:
    mlflow.log_text("\n".join(i for _, i in read), "rows.txt")
with open(download_artifacts(run_id=run.info.run_id, artifact_path="rows.txt")) as f:
    back = len(f.read().split("\n"))
common.tell(mlflow.__version__, read, back, lambda: get_artifact_repository(f"s3://of-{common.other}/own").download_artifacts("own.csv"))
