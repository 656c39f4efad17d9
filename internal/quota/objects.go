package quota

import (
	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// Keys of the quotas on what is in buckets. Engines of objects count that, and judge each write in its moment.
const (
	BucketSize    = "s3:quota-bucketsize"
	TotalSize     = "s3:quota-buckettotalsize"
	BucketObjects = "s3:quota-bucketobjectnumber"
)

// inBuckets are those quotas.
func inBuckets() []Quota {
	exceeded := func(message string) func(int64) error {
		return func(most int64) error { return awserr.New("QuotaExceeded", message, most).WithStatus(403) }
	}
	all := []Quota{
		{Key: BucketSize, Counts: "size of the largest bucket", Unit: "MiB", refuse: exceeded("The bucket has reached its quota of %d MiB.")},
		{Key: TotalSize, Counts: "size of all buckets", Unit: "MiB", refuse: exceeded("The buckets have reached their quota of %d MiB.")},
		{Key: BucketObjects, Counts: "objects in the fullest bucket: versions, delete markers and parts", refuse: exceeded("The bucket has reached its quota of %d objects.")},
	}
	for i := range all {
		all[i].Default, all[i].action = None, act("s3:PutObject")
		all[i].used = func(store.Reader, string) int64 { return 0 } // in no table
	}
	return all
}

// ObjectLimits are quotas on what is in buckets; None: there is none.
type ObjectLimits struct{ BucketSize, TotalSize, BucketObjects int64 }

// Any says whether there is one.
func (l ObjectLimits) Any() bool { return l != ObjectLimits{None, None, None} }

// Objects gives the limits for a write to the object with this ARN: those of the account that its bucket belongs to, and
// the caller's own.
func (k *Keeper) Objects(r store.Reader, info *call.Info, account, arn string) (theirs, own ObjectLimits, err error) {
	theirs, own = ObjectLimits{None, None, None}, ObjectLimits{None, None, None}
	if k == nil {
		return theirs, own, nil
	}
	l := authz.Limit{Account: account, Actions: putObject, Resource: arn}
	for _, q := range []struct {
		key         string
		theirs, own *int64
	}{{BucketSize, &theirs.BucketSize, &own.BucketSize}, {TotalSize, &theirs.TotalSize, &own.TotalSize}, {BucketObjects, &theirs.BucketObjects, &own.BucketObjects}} {
		l.Key = q.key
		if *q.theirs, *q.own, err = k.limits.Limits(r, info, &l); err != nil {
			return theirs, own, err
		}
	}
	return theirs, own, nil
}

var putObject = []policy.Action{act("s3:PutObject")}

// ObjectRefusal is the error for a write that would get past a limit.
func (k *Keeper) ObjectRefusal(key string, most int64) error { return k.find(key).refuse(most) }
