package s3

// Notes says, for each operation, what of it is not honoured: for `karri operations`. Operations that are
// honoured in full are left out.
func Notes() map[string]string {
	const (
		write = "Refused: encryption of every kind (nothing is encrypted at rest; also x-amz-server-side-encryption AES256), storage classes but STANDARD, " +
			"tags, website redirects, object lock, and ACLs but private and bucket-owner-full-control, as where ACLs are off. x-amz-request-payer has no effect: no bucket is paid for by requesters."
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
		"CreateBucket":            "Refused: object lock, ACLs but private, object ownership but BucketOwnerEnforced, directory buckets.",
		"ListObjects":             "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"ListObjectsV2":           "x-amz-optional-object-attributes can only be RestoreStatus, which no object has.",
		"GetBucketVersioning":     "Versioning cannot be enabled.",
		"GetBucketAcl":            "ACLs are off: the owner has everything.",
		"GetObjectAcl":            "ACLs are off: the owner has everything.",
		"GetObjectTagging":        "Objects cannot have tags.",
		"GetPublicAccessBlock":    "Nothing can be made public: all four are on.",
		"GetBucketEncryption":     "Nothing is encrypted at rest.",
	}
	for _, op := range []string{
		"GetBucketAccelerateConfiguration", "GetBucketCors", "GetBucketLifecycleConfiguration", "GetBucketLogging",
		"GetBucketNotificationConfiguration", "GetBucketPolicy", "GetBucketPolicyStatus", "GetBucketReplication", "GetBucketWebsite", "GetObjectLockConfiguration",
	} {
		notes[op] = never
	}
	return notes
}
