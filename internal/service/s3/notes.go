package s3

// Notes says, for each operation, what of it is not honoured: for `karri operations`. Operations that are
// honoured in full are left out.
func Notes() map[string]string {
	const (
		write = "Refused: aws:kms, storage classes but STANDARD, " +
			"and ACLs but private and bucket-owner-full-control, as where ACLs are off. x-amz-request-payer has no effect: no bucket is paid for by requesters."
		never = "Nothing can set it: answers as of a bucket that never got one."
	)
	notes := map[string]string{
		"PutObject":                  write + " Refused: x-amz-write-offset-bytes.",
		"CreateMultipartUpload":      write,
		"CopyObject":                 write,
		"DeleteObject":               "Refused: x-amz-if-match-last-modified-time and -size (of directory buckets). x-amz-mfa has no effect: no bucket has MFA delete.",
		"DeleteObjects":              "Refused: LastModifiedTime and Size (of directory buckets). x-amz-mfa has no effect: no bucket has MFA delete.",
		"CreateBucket":               "Refused: directory buckets.",
		"ListObjects":                "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"ListObjectsV2":              "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"PutBucketVersioning":        "Refused: MFA delete.",
		"PutObjectLockConfiguration": "Refused: x-amz-bucket-object-lock-token.",
		"GetObjectAcl":               "ACLs are off: the owner has everything.",
		"PutBucketEncryption":        "Refused: aws:kms. BucketKeyEnabled is kept and answered; it has no effect without KMS.",
	}
	for _, op := range []string{"GetBucketReplication"} {
		notes[op] = never
	}
	notes["PutBucketLifecycleConfiguration"] = "Refused: transitions, as there is one storage class only."
	notes["PutBucketLogging"] = "Refused: any target; no logs are delivered."
	notes["PutBucketNotificationConfiguration"] = "Refused: every target, as there are neither topics, queues, functions nor EventBridge yet. An empty configuration is taken."
	notes["PutBucketRequestPayment"] = "Refused: Requester, as nobody pays."
	return notes
}
