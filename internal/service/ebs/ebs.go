// Package ebs serves the EBS direct APIs: clients read the blocks of snapshots, find out which changed between two, and
// write snapshots block by block, without a volume or an instance.
package ebs

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/chunks"
	"karri.dev/internal/ids"
	"karri.dev/internal/policy"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// blocksPerGiB is how many blocks a GiB has.
const blocksPerGiB = 1 << 30 / chunks.Size

// Deps are what the service works with.
type Deps struct {
	Store  *store.Store
	Chunks *chunks.Store
	Images string // the bucket of imported images' data
	Sealer *seal.Sealer
	IDs    *ids.Source
	Quotas *quota.Keeper
	Now    func() time.Time
	Log    *slog.Logger
	// Readable says whether an account may make volumes of a snapshot, and so read it.
	Readable func(r store.Reader, account string, snap *resource.Snapshot) bool
	// Encrypts says whether all that an account makes is to be encrypted.
	Encrypts func(r store.Reader, info *call.Info) bool
}

// Service implements the operations.
type Service struct{ Deps }

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(deps Deps) *Service { return &Service{deps} }

// snapshotID is what AWS lets pass as one.
var snapshotID = regexp.MustCompile(`^snap-[0-9a-f]{1,59}$`)

// invalid is AWS's answer to what a client should not have sent.
func invalid(reason, format string, args ...any) error {
	return awserr.New("ValidationException", format, args...).With("Reason", reason)
}

// find gives a snapshot that is there for the caller.
func (s *Service) find(r store.Reader, info *call.Info, id string, may func(*resource.Snapshot) bool) (*resource.Snapshot, error) {
	if !snapshotID.MatchString(id) {
		return nil, invalid("INVALID_SNAPSHOT_ID", "The snapshot ID is not valid.")
	}
	snap := store.Snapshots.Get(r, id)
	if snap == nil || snap.Region != info.Region || !may(snap) {
		return nil, awserr.New("ResourceNotFoundException", "The snapshot '%s' does not exist.", id).WithStatus(404).With("Reason", "SNAPSHOT_NOT_FOUND")
	}
	return snap, nil
}

// readable gives a completed snapshot that the caller may read.
func (s *Service) readable(r store.Reader, info *call.Info, id string) (*resource.Snapshot, error) {
	snap, err := s.find(r, info, id, func(snap *resource.Snapshot) bool { return s.Readable(r, info.AccountID, snap) })
	if err == nil && snap.State != "completed" {
		err = invalid("INVALID_SNAPSHOT_ID", "The snapshot '%s' is in the '%s' state.", id, snap.State)
	}
	return snap, err
}

// Permissions is what each operation asks leave for: the action of its own name on the snapshot.
func Permissions() authz.Service {
	return authz.Service{
		Table: authz.Table{
			"ListSnapshotBlocks": {On: "snapshot:SnapshotId"},
			"ListChangedBlocks":  {On: "snapshot:SecondSnapshotId snapshot:FirstSnapshotId?"},
			"GetSnapshotBlock":   {On: "snapshot:SnapshotId"},
			"PutSnapshotBlock":   {On: "snapshot:SnapshotId"},
			"CompleteSnapshot":   {On: "snapshot:SnapshotId"},
			"StartSnapshot": {
				On: "snapshot:+", Keys: "ebs:Description=Description ebs:ParentSnapshot=ParentSnapshotId ebs:VolumeSize=VolumeSize", Also: tagsAtStart,
			},
		},
		Kinds: map[string]authz.Kind{"snapshot": {
			ARN: func(b []byte, info *call.Info, name string) []byte { return append(b, snapshotARN(info, name)...) },
			Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
				if snap := store.Snapshots.Get(r, name); snap != nil && snap.AccountID == info.AccountID {
					return found{snap}
				}
				return nil // tags of others are theirs
			},
		}},
	}
}

func snapshotARN(info *call.Info, name string) string {
	if name == "" {
		name = "*"
	}
	return "arn:aws:ec2:" + info.Region + "::snapshot/" + name
}

var actCreateTags = policy.MakeAction("ec2:CreateTags")

// tagsAtStart asks for leave to tag what is made.
func tagsAtStart(a *authz.Asking) {
	in := a.Input.(*shape.StartSnapshotRequest)
	if len(in.Tags) == 0 {
		return
	}
	tags, keys := resource.Tags{}, []string{}
	for _, t := range in.Tags {
		tags[t.Key] = t.Value
		keys = append(keys, t.Key)
	}
	a.Ask(actCreateTags, snapshotARN(a.Info, ""), func(k policy.Key) (policy.Value, bool) {
		switch k.Name {
		case "aws:requesttag":
			return authz.Tag(tags, k.Arg)
		case "aws:tagkeys":
			return policy.Strings(keys), true
		case "ec2:createaction":
			return policy.String("StartSnapshot"), true
		}
		return policy.Value{}, false
	})
}

// found gives a snapshot's condition keys.
type found struct{ snap *resource.Snapshot }

// Value implements authz.Resource.
func (f found) Value(k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "aws:resourcetag":
		return authz.Tag(f.snap.Tags, k.Arg)
	case "ebs:description":
		return policy.String(f.snap.Description), f.snap.Description != ""
	case "ebs:volumesize":
		return policy.Int(int64(f.snap.SizeGiB)), true
	case "ebs:parentsnapshot":
		if f.snap.Direct == nil {
			return policy.Value{}, false
		}
		return policy.String(f.snap.Direct.Parent), f.snap.Direct.Parent != ""
	}
	return policy.Value{}, false
}

// Notes says per operation what of it is not honoured.
func Notes() map[string]string {
	return map[string]string{"StartSnapshot": "KmsKeyArn is refused: there are no keys of one's own to choose."}
}

// caller is who calls; the front door lets nobody in without a name.
func caller(ctx context.Context) *call.Info { return call.From(ctx) }
