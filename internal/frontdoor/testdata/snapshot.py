# A snapshot of one block, with boto3: prints its id.
import base64, hashlib, os
import boto3

ebs = boto3.client("ebs", endpoint_url=os.environ["ENDPOINT"], verify=False)
id = ebs.start_snapshot(VolumeSize=1, Description="by boto3", Timeout=10)["SnapshotId"]
block = b"k" * 524288
sum = hashlib.sha256(block).digest()
ebs.put_snapshot_block(
    SnapshotId=id, BlockIndex=7, BlockData=block, DataLength=len(block), Progress=50,
    Checksum=base64.b64encode(sum).decode(), ChecksumAlgorithm="SHA256")
try:
    ebs.complete_snapshot(SnapshotId=id, ChangedBlocksCount=2)
    raise SystemExit("a wrong count is taken")
except ebs.exceptions.ValidationException as e:
    assert e.response["Reason"] == "INVALID_PARAMETER_VALUE", e.response
ebs.complete_snapshot(
    SnapshotId=id, ChangedBlocksCount=1, ChecksumAlgorithm="SHA256", ChecksumAggregationMethod="LINEAR",
    Checksum=base64.b64encode(hashlib.sha256(sum).digest()).decode())
try:
    ebs.list_snapshot_blocks(SnapshotId="snap-00000000000000000")
    raise SystemExit("a snapshot is there that is not")
except ebs.exceptions.ResourceNotFoundException as e:
    assert e.response["Reason"] == "SNAPSHOT_NOT_FOUND", e.response
print(id)
