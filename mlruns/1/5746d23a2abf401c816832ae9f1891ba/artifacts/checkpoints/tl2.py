import tempfile

d = tempfile.mkdtemp()

for uri in ("sqlite:///" + d + "/m.db", "file://" + d + "/ml"):
    try:
        from mlflow import MlflowClient

        c = MlflowClient(tracking_uri=uri)
        e = c.create_experiment("apex-ray")
        r = c.create_run(e, run_name="x")
        c.log_metric(r.info.run_id, "a", 1.0, step=3)
        c.log_param(r.info.run_id, "p", "v")
        c.log_artifact(r.info.run_id, "/tmp/tl2.py", "checkpoints")
        print(uri, c.get_run(r.info.run_id).data.metrics)
    except Exception as ex:
        print(uri, type(ex).__name__, str(ex))
