package s3

// Notes says, for each operation, what of it is not honoured: for `karri operations`. Operations that are
// honoured in full are left out.
func Notes() map[string]string {
	const (
		write = "Refused: encryption of every kind (nothing is encrypted at rest; also x-amz-server-side-encryption AES256), storage classes but STANDARD, " +
			"tags, object lock, and ACLs but private and bucket-owner-full-control, as where ACLs are off. x-amz-request-payer has no effect: no bucket is paid for by requesters."
		versions = "versionId can only be null: there are no versions."
		customer = "Refused: keys of the customer's (SSE-C)."
		never    = "Nothing can set it: answers as of a bucket that never got one."
	)
	notes := map[string]string{
		"PutObject":               write + " Refused: x-amz-write-offset-bytes.",
		"CreateMultipartUpload":   write,
		"CopyObject":              write + " " + versions + " x-amz-tagging-directive COPY has no effect: no object has tags.",
		"UploadPart":              customer,
		"UploadPartCopy":          customer + " " + versions,
		"CompleteMultipartUpload": customer,
		"GetObject":               customer + " " + versions,
		"HeadObject":              customer + " " + versions,
		"DeleteObject":            versions + " Refused: conditions (If-Match and its kin), x-amz-bypass-governance-retention. x-amz-mfa has no effect: no bucket has MFA delete.",
		"DeleteObjects":           versions + " Refused: conditions, x-amz-bypass-governance-retention. x-amz-mfa has no effect: no bucket has MFA delete.",
		"CreateBucket":            "Refused: object lock, directory buckets.",
		"ListObjects":             "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"ListObjectsV2":           "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"GetBucketVersioning":     "Versioning cannot be enabled.",
		"GetObjectAcl":            "ACLs are off: the owner has everything.",
		"GetObjectTagging":        "Objects cannot have tags.",
		"GetBucketEncryption":     "Nothing is encrypted at rest.",
	}
	for _, op := range []string{"GetBucketReplication", "GetObjectLockConfiguration"} {
		notes[op] = never
	}
	notes["PutBucketLifecycleConfiguration"] = "Refused: transitions, as there is one storage class only."
	notes["PutBucketLogging"] = "Refused: any target; no logs are delivered."
	notes["PutBucketNotificationConfiguration"] = "Refused: every target, as there are neither topics, queues, functions nor EventBridge yet. An empty configuration is taken."
	notes["PutBucketRequestPayment"] = "Nobody pays: what is honoured is that others than the owner must send x-amz-request-payer."
	return notes
}
