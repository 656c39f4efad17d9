package ebs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/chunks"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS's.
const (
	maxTags        = 50
	maxTagKey      = 127
	maxTagValue    = 255
	maxDescription = 255
	maxClientToken = 255
	maxVolumeGiB   = 64 << 10
	defaultTimeout = 60 // minutes
	minTimeout     = 10
	maxTimeout     = 4320
	maxPending     = 100 // of an account, in a region
)

// readStart checks what StartSnapshot asks for.
func readStart(in *shape.StartSnapshotRequest) (resource.Tags, error) {
	const parameter = "INVALID_PARAMETER_VALUE"
	switch {
	case in.VolumeSize < 1 || in.VolumeSize > maxVolumeGiB:
		return nil, invalid("INVALID_VOLUME_SIZE", "The volume size must be between 1 and %d GiB.", maxVolumeGiB)
	case len(in.Description) > maxDescription:
		return nil, invalid(parameter, "The description has more than %d characters.", maxDescription)
	case len(in.ClientToken) > maxClientToken || strings.ContainsAny(in.ClientToken, " \t\r\n"):
		return nil, invalid(parameter, "The client token is not valid.")
	case in.Timeout != nil && (*in.Timeout < minTimeout || *in.Timeout > maxTimeout):
		return nil, invalid(parameter, "The timeout must be between %d and %d minutes.", minTimeout, maxTimeout)
	case in.ParentSnapshotId != "" && in.Encrypted != nil:
		return nil, invalid(parameter, "Encrypted and ParentSnapshotId can not be specified together.")
	case in.KmsKeyArn != "":
		return nil, invalid("INVALID_CUSTOMER_KEY", "There are no keys to choose from here: encrypted snapshots have the account's key for EBS.")
	case len(in.Tags) > maxTags:
		return nil, invalid("INVALID_TAG", "A snapshot can have at most %d tags.", maxTags)
	}
	tags := resource.Tags{}
	for _, t := range in.Tags {
		_, twice := tags[t.Key]
		if t.Key == "" || twice || utf8.RuneCountInString(t.Key) > maxTagKey || utf8.RuneCountInString(t.Value) > maxTagValue ||
			strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalid("INVALID_TAG", "The tag '%.130s' is not valid.", t.Key)
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// token is what a snapshot keeps of the client token that it was made with.
func startToken(in *shape.StartSnapshotRequest) (string, error) {
	if in.ClientToken == "" {
		return "", nil
	}
	rest := *in
	rest.ClientToken = ""
	data, err := json.Marshal(rest)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return in.ClientToken + " " + hex.EncodeToString(sum[:8]), nil
}

// StartSnapshot begins a snapshot whose blocks the client will write.
func (s *Service) StartSnapshot(ctx context.Context, in *shape.StartSnapshotRequest) (*shape.StartSnapshotResult, error) {
	info := caller(ctx)
	tags, err := readStart(in)
	if err != nil {
		return nil, err
	}
	token, err := startToken(in)
	if err != nil {
		return nil, err
	}
	var made *resource.Snapshot
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return s.Quotas.Within(tx, info, func(tx *store.Tx) error {
			if token != "" {
				for old := range store.SnapshotsByToken.By(tx, info.AccountID+"/"+info.Region+"/"+in.ClientToken) {
					if made = old; old.Token != token {
						return awserr.New("ConflictException", "The client token was used with other parameters.").WithStatus(409)
					}
					return nil
				}
			}
			made, err = s.newSnapshot(tx, info, in, tags)
			if err != nil {
				return err
			}
			made.Token = token
			return store.Snapshots.Put(tx, made)
		})
	})
	if awserr.Code(err) == "SnapshotLimitExceeded" {
		return nil, awserr.New("ServiceQuotaExceededException", "%s", awserr.From(err).Message).WithStatus(402).With("Reason", "DEPENDENCY_SERVICE_QUOTA_EXCEEDED")
	}
	if err != nil {
		return nil, err
	}
	out := &shape.StartSnapshotResult{
		Description: made.Description, SnapshotId: made.ID, OwnerId: made.AccountID, Status: made.State, StartTime: made.CreatedAt,
		VolumeSize: int64(made.SizeGiB), BlockSize: chunks.Size, SseType: "none", ParentSnapshotId: in.ParentSnapshotId,
	}
	if made.Encrypted {
		out.SseType, out.KmsKeyArn = "sse-kms", resource.EBSKey(made.Owned)
	}
	for k, v := range made.Tags {
		out.Tags = append(out.Tags, shape.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out.Tags, func(a, b shape.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// newSnapshot makes the record.
func (s *Service) newSnapshot(tx *store.Tx, info *call.Info, in *shape.StartSnapshotRequest, tags resource.Tags) (*resource.Snapshot, error) {
	snap := &resource.Snapshot{
		Owned: resource.Owned{AccountID: info.AccountID, Region: info.Region, CreatedAt: s.Now().UTC().Truncate(time.Millisecond), Tags: tags, Creator: info.PrincipalID()},
		ID:    s.IDs.Resource("snap-"), VolumeID: resource.NoVolume, SizeGiB: int(in.VolumeSize), Description: in.Description, State: "pending",
		Encrypted: in.Encrypted != nil && *in.Encrypted || s.Encrypts(tx, info),
		Direct:    &resource.DirectSnapshot{Timeout: defaultTimeout},
	}
	snap.CutAt = snap.CreatedAt // there is no volume to wait for
	if in.Timeout != nil {
		snap.Direct.Timeout = *in.Timeout
	}
	pending := 0
	for other := range store.SnapshotsDirect.By(tx, "") {
		if other.OwnedBy() == snap.OwnedBy() && other.State == "pending" {
			pending++
		}
	}
	if pending >= maxPending {
		return nil, awserr.New("ConcurrentLimitExceededException", "There are %d pending snapshots: complete one before another is started.", pending)
	}
	if in.ParentSnapshotId == "" {
		return snap, nil
	}
	parent, err := s.readable(tx, info, in.ParentSnapshotId)
	switch {
	case err != nil:
		return nil, err
	case snap.SizeGiB < parent.SizeGiB:
		return nil, invalid("INVALID_VOLUME_SIZE", "The volume size must not be smaller than that of the parent snapshot, %d GiB.", parent.SizeGiB)
	}
	data := parent.Data
	snap.Direct.Parent, snap.Lineage, snap.Base = parent.ID, parent.Descent(), &data
	snap.Encrypted = snap.Encrypted || parent.Encrypted
	return snap, nil
}
