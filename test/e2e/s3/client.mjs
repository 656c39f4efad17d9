// The S3 client of AWS's JavaScript SDK, as a program of its users has it: defaults everywhere, checksums included.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand,
  NoSuchKey, PutObjectCommand, PutObjectTaggingCommand, GetObjectTaggingCommand, S3Client, paginateListObjectsV2, waitUntilBucketExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true });
const Bucket = "javascript";
await s3.send(new CreateBucketCommand({ Bucket }));
await waitUntilBucketExists({ client: s3, maxWaitTime: 10 }, { Bucket });

// Strings, buffers and keys that URLs have to escape.
const Key = "dir/ä b+c?&=%25.txt";
const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body: "hello", ContentType: "text/plain", Metadata: { color: "blue" } }));
assert.ok(put.ChecksumCRC32, "the default checksum is answered");
const got = await s3.send(new GetObjectCommand({ Bucket, Key }));
assert.equal(await got.Body.transformToString(), "hello");
assert.equal(got.Metadata.color, "blue");
assert.equal(got.ChecksumCRC32, put.ChecksumCRC32);
const part = await s3.send(new GetObjectCommand({ Bucket, Key, Range: "bytes=1-3" }));
assert.equal(await part.Body.transformToString(), "ell");
assert.equal(part.ContentRange, "bytes 1-3/5");
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: "nothing" })), NoSuchKey);
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key, IfNoneMatch: got.ETag })), (e) => e.$metadata.httpStatusCode === 304);
await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key, Body: "x", IfNoneMatch: "*" })), (e) => e.name === "PreconditionFailed");

// Streams of unknown length go up in parts.
const big = randomBytes(12 << 20);
await new Upload({ client: s3, params: { Bucket, Key: "big", Body: Readable.from([big.subarray(0, 7 << 20), big.subarray(7 << 20)]) } }).done();
const back = await s3.send(new GetObjectCommand({ Bucket, Key: "big" }));
assert.ok(big.equals(Buffer.from(await back.Body.transformToByteArray())), "a large object comes back as it went");
for (const ChecksumAlgorithm of ["SHA256", "SHA1", "CRC32C"]) {
  await s3.send(new PutObjectCommand({ Bucket, Key: ChecksumAlgorithm, Body: big.subarray(0, 1000), ChecksumAlgorithm }));
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" }));
  assert.ok(head["Checksum" + ChecksumAlgorithm], ChecksumAlgorithm);
}

await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: encodeURIComponent(`${Bucket}/${Key}`) }));
await s3.send(new PutObjectTaggingCommand({ Bucket, Key: "copy", Tagging: { TagSet: [{ Key: "a", Value: "ü" }] } }));
assert.deepEqual((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: "copy" }))).TagSet, [{ Key: "a", Value: "ü" }]);

// Presigned, with fetch.
const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "presigned", ContentType: "text/css" }), { expiresIn: 60 });
assert.equal((await fetch(url, { method: "PUT", body: "a{}", headers: { "content-type": "text/css" } })).status, 200);
const read = await fetch(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "presigned", ResponseContentType: "text/plain" })));
assert.equal(read.headers.get("content-type"), "text/plain");
assert.equal(await read.text(), "a{}");

const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket })) {
  keys.push(...page.Contents.map((o) => o.Key));
}
assert.deepEqual(keys, ["CRC32C", "SHA1", "SHA256", "big", "copy", Key, "presigned"]);
const gone = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
assert.equal(gone.Deleted.length, keys.length);
await s3.send(new DeleteBucketCommand({ Bucket }));
