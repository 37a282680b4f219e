"""What pods of the worker's image run beside the workflows: they prepare a place, look at it, empty it."""

# OWN makes the volume the workers', FOREIGN root's, as it is
# where the tutorial made it; EMPTY leaves nothing on the node.
OWN = "import os; os.chown('/mnt/vol', 1000, 1001)"
FOREIGN = "import os; os.chown('/mnt/vol', 0, 0); os.chmod('/mnt/vol', 0o755)"
EMPTY = """
import os, shutil
for name in os.listdir("/mnt/vol"):
    path = os.path.join("/mnt/vol", name)
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
"""
# What was made is removed after the look, so that no result can pass for that of the next workflow.
LOOK = """
import json, pathlib, shutil
root = pathlib.Path("/mnt/vol/aggregation-demo")
level = sorted((root / "l1").glob("*.txt"), key=lambda path: int(path.stem))
result = root / "result.txt"
text = lambda path: path.read_bytes().decode("latin-1") if path.exists() else None
runs = sorted(path.name for path in root.glob("runs/*"))
print(json.dumps({"level": [text(path) for path in level], "result": text(result), "runs": runs}))
result.unlink(missing_ok=True)
for folder in [*root.glob("l*"), root / "runs"]:
    if folder.name != "l1" and folder.exists():
        shutil.rmtree(folder)
"""
# The same of a prefix, by oss2, which the image has; EMPTY_PREFIX leaves nothing there.
_BUCKET = """
import json, os, oss2
key = (os.environ["OSS_ACCESS_KEY_ID"], os.environ["OSS_ACCESS_KEY_SECRET"])
token = os.environ.get("OSS_SESSION_TOKEN")
auth = oss2.StsAuth(*key, token) if token else oss2.Auth(*key)
bucket = oss2.Bucket(auth, os.environ["OSS_ENDPOINT"], os.environ["BUCKET"])
prefix = os.environ["PREFIX"] + "/"
keys = [each.key for each in oss2.ObjectIterator(bucket, prefix=prefix)]
"""
LOOK_AT_PREFIX = f"""{_BUCKET}
text = lambda key: bucket.get_object(key).read().decode("latin-1") if key in keys else None
level = [text(f"{{prefix}}l1/{{number}}.txt") for number in range(sum("/l1/" in key for key in keys))]
runs = sorted({{key.split("/")[-3] for key in keys if "/runs/" in key}})
print(json.dumps({{"level": level, "result": text(prefix + "result.txt"), "runs": runs}}))
bucket.delete_object(prefix + "result.txt")
"""
EMPTY_PREFIX = f"""{_BUCKET}
for key in keys:
    bucket.delete_object(key)
"""
