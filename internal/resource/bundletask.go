package resource

import "time"

// Bundle task states, as EC2 names them.
const (
	BundlePending    = "pending"
	BundleWaiting    = "waiting-for-shutdown"
	BundleBundling   = "bundling"
	BundleStoring    = "storing"
	BundleCancelling = "cancelling"
	BundleComplete   = "complete"
	BundleFailed     = "failed"
)

// BundleTask is a BundleInstance task: it makes a bundle of an instance's root disk and uploads it with what the caller
// signed. The handler makes it, the importer does the rest.
type BundleTask struct {
	Owned
	ID         string `json:"id"` // bun-…
	InstanceID string `json:"instance"`
	// SnapshotID is of the disk as it is when the guest is down. Nobody owns that snapshot, and it ends with the task.
	SnapshotID string       `json:"snapshot"`
	KernelID   string       `json:"kernel,omitempty"`
	RamdiskID  string       `json:"ramdisk,omitempty"`
	Bucket     string       `json:"bucket"`
	Prefix     string       `json:"prefix"`
	Upload     BundleUpload `json:"upload"`
	State      string       `json:"state"`
	Progress   int          `json:"progress"` // percent
	Code       string       `json:"code,omitempty"`
	Message    string       `json:"message,omitempty"` // why it failed
	UpdatedAt  time.Time    `json:"updated"`
}

// Open says that there is still something to do.
func (t *BundleTask) Open() bool { return t.State != BundleComplete && t.State != BundleFailed }

// BundleUpload is what a task uploads with: a form's policy, in base64, and its signature. It is gone when the task ends.
type BundleUpload struct {
	AccessKeyID string `json:"access_key,omitempty"`
	Policy      string `json:"policy,omitempty"`
	Signature   string `json:"signature,omitempty"`
}

// Fields gives the form's fields beside the file.
func (u BundleUpload) Fields(key string) map[string]string {
	return map[string]string{"key": key, "acl": "ec2-bundle-read", "AWSAccessKeyId": u.AccessKeyID, "policy": u.Policy, "signature": u.Signature}
}
