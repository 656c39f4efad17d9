"""boto3 as its users have it: Debian's, with its defaults."""
import io
import os
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, name = os.environ["S3_ENDPOINT"], "boto"
s3 = boto3.client("s3", endpoint_url=endpoint)
s3.create_bucket(Bucket=name)
s3.get_waiter("bucket_exists").wait(Bucket=name)
bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(name)


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, (code, e.response)
        return
    raise AssertionError(f"{call} was not refused")


# Uploads and downloads in parts, by the transfer manager.
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
big = os.urandom(12 << 20)
bucket.upload_fileobj(io.BytesIO(big), "a/big", ExtraArgs={"Metadata": {"k": "v"}, "ContentType": "x/y"}, Config=parts)
assert s3.head_object(Bucket=name, Key="a/big")["Metadata"] == {"k": "v"}
assert s3.head_object(Bucket=name, Key="a/big")["ETag"].endswith('-3"')
back = io.BytesIO()
bucket.download_fileobj("a/big", back, Config=parts)
assert back.getvalue() == big
bucket.copy({"Bucket": name, "Key": "a/big"}, "a/copy", Config=parts)  # in parts as well
assert s3.get_object(Bucket=name, Key="a/copy", Range="bytes=-7")["Body"].read() == big[-7:]
attributes = s3.get_object_attributes(Bucket=name, Key="a/copy", ObjectAttributes=["ObjectSize", "ObjectParts"])
assert attributes["ObjectSize"] == len(big) and attributes["ObjectParts"]["TotalPartsCount"] == 3

# Keys and values of all kinds.
for key in ["ü ö/+", "a//b", "a/../b", "/lead", "q?x=1&y", "per%cent", "new\nline", "k" * 1024]:
    s3.put_object(Bucket=name, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=name, Key=key)["Body"].read() == key.encode(), key
    assert any(o["Key"] == key for o in s3.list_objects_v2(Bucket=name, Prefix=key)["Contents"]), key
refused("KeyTooLongError", s3.put_object, Bucket=name, Key="k" * 1025)
refused("NoSuchKey", s3.get_object, Bucket=name, Key="nothing")
refused("404", s3.head_object, Bucket=name, Key="nothing")
refused("NoSuchBucket", s3.list_objects_v2, Bucket="nothing-of-this-name")
refused("InvalidBucketName", s3.list_objects_v2, Bucket="xn--reserved")
refused("BadDigest", s3.put_object, Bucket=name, Key="x", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
refused("InvalidRange", s3.get_object, Bucket=name, Key="a/big", Range="bytes=99999999-")

# Listings in pages, both ways; versions.
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": 3})
assert sum(p["KeyCount"] for p in pages) == 10
assert len([o for p in s3.get_paginator("list_objects").paginate(Bucket=name, PaginationConfig={"PageSize": 4}) for o in p["Contents"]]) == 10
assert [p["Prefix"] for p in s3.list_objects_v2(Bucket=name, Delimiter="/")["CommonPrefixes"]] == ["/", "a/", "ü ö/"]
s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
for body in b"1", b"2":
    bucket.put_object(Key="v", Body=body)
bucket.Object("v").delete()
assert [v.is_latest for v in bucket.object_versions.filter(Prefix="v")] == [False, False, True] or len(list(bucket.object_versions.filter(Prefix="v"))) == 3
oldest = s3.list_object_versions(Bucket=name, Prefix="v")["Versions"][-1]["VersionId"]
assert s3.get_object(Bucket=name, Key="v", VersionId=oldest)["Body"].read() == b"1"

# Signatures of all kinds: in URLs (both versions), of forms, and chunked over streams.
for version in "s3v4", "s3":
    signer = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version=version))
    url = signer.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "ü ö/+"})
    assert urllib.request.urlopen(url).read() == "ü ö/+".encode(), version
form = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4")).generate_presigned_post(name, "posted", Conditions=[["content-length-range", 1, 10]])
boundary = "----b"
fields = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in form["fields"].items())
body = fields + f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nfrom a form\r\n--{boundary}--\r\n'
request = lambda text: urllib.request.Request(form["url"], text.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"})
try:
    urllib.request.urlopen(request(body))
    raise AssertionError("a form's file may be too long")
except urllib.error.HTTPError as e:
    assert e.code == 400 and b"EntityTooLarge" in e.read()
urllib.request.urlopen(request(body.replace("from a form", "a form")))
assert s3.get_object(Bucket=name, Key="posted")["Body"].read() == b"a form"

# Checksums.
for algorithm in "CRC32", "SHA1", "SHA256":
    put = s3.put_object(Bucket=name, Key="sum", Body=b"abc", ChecksumAlgorithm=algorithm)
    assert s3.get_object(Bucket=name, Key="sum", ChecksumMode="ENABLED")["Checksum" + algorithm] == put["Checksum" + algorithm]

# ACLs, once they are on.
refused("AccessControlListNotSupported", s3.put_object_acl, Bucket=name, Key="sum", ACL="public-read")
s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
s3.delete_public_access_block(Bucket=name)
s3.put_object_acl(Bucket=name, Key="sum", ACL="public-read")
assert urllib.request.urlopen(f"{endpoint}/{name}/sum").read() == b"abc"
assert len(s3.get_object_acl(Bucket=name, Key="sum")["Grants"]) == 2

bucket.object_versions.delete()
bucket.delete()
