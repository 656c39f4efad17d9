package s3

// Notes says, for each operation, what of it is not honoured: for `karri operations`. Operations that are
// honoured in full are left out.
func Notes() map[string]string {
	const (
		write = "Refused: aws:kms, and storage classes but STANDARD."
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
		"PutBucketEncryption":        "Refused: aws:kms. BucketKeyEnabled is kept and answered; it has no effect without KMS.",
	}
	notes["PutBucketReplication"] = "Refused: storage classes, owner translation, KMS, replication time, metrics, SourceSelectionCriteria, existing objects. Replicas get version ids of their own; changes of tags, ACLs and locks afterwards are not replicated. A bucket at another endpoint is arn:aws:s3:::BUCKET@TARGET (docs/s3.md)."
	notes["PutBucketLifecycleConfiguration"] = "Refused: transitions, as there is one storage class only."
	notes["PutBucketNotificationConfiguration"] = "Refused: queues, functions and EventBridge. Topics are webhooks (docs/s3.md)."
	notes["PutBucketAnalyticsConfiguration"] = "Kept and answered; nothing is analysed, as there is one storage class. Refused: exports."
	notes["PutBucketMetricsConfiguration"] = "Kept and answered; nothing is counted, as there is no CloudWatch. Refused: access points."
	notes["PutBucketIntelligentTieringConfiguration"] = "Kept and answered; it has no effect, as no object can be in that storage class."
	notes["PutBucketInventoryConfiguration"] = "Refused: ORC, Parquet, KMS, the fields ObjectAccessControlList and LifecycleExpirationDate."
	notes["PutBucketRequestPayment"] = "Requesters have to say that they pay; there is no bill."
	return notes
}
