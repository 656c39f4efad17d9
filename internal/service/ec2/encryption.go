package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Encryption of volumes and snapshots. There is no KMS yet: each volume has a key of its own, sealed for its account,
// which AWS's clients see as the account's default key for EBS.

const ebsKeyAlias = resource.EBSKeyAlias

// ebsKeyOf names the key of an account's encrypted volumes, "" for what is not encrypted.
func ebsKeyOf(o resource.Owned, encrypted bool) string {
	if !encrypted {
		return ""
	}
	return resource.EBSKey(o)
}

func encryptionSetting(info *call.Info) string { return "ebs-encryption-by-default/" + ownerKey(info) }

// EncryptsByDefault says whether all that the caller's account makes is encrypted.
func EncryptsByDefault(r store.Reader, info *call.Info) bool { return encryptsByDefault(r, info) }

func encryptsByDefault(r store.Reader, info *call.Info) bool {
	return store.Settings.Get(r, encryptionSetting(info)) != nil
}

// encrypts says whether a new volume is encrypted: as asked, and without being asked over an encrypted snapshot (snap,
// nil for none) or where the account wants all of them to be.
func encrypts(d disk, snap *resource.Snapshot) (bool, error) {
	if snap != nil && snap.Encrypted {
		if d.encrypted != nil && !*d.encrypted {
			return false, awserr.New("InvalidParameterValue", "The encrypted flag cannot be false since the snapshot %s is encrypted.", snap.ID)
		}
		return true, nil
	}
	return isTrue(d.encrypted) || d.encrypts, nil
}

// seal gives a new volume that is to be encrypted its key.
func (s *Service) seal(v *resource.Volume) (err error) {
	if v.Encrypted {
		v.Key, err = s.VolumeKeys.Make(v.AccountID, v.ID)
	}
	return err
}

// EnableEbsEncryptionByDefault makes all new volumes, and copies of snapshots, of the account encrypted.
func (s *Service) EnableEbsEncryptionByDefault(ctx context.Context, in *shape.EnableEbsEncryptionByDefaultRequest) (*shape.EnableEbsEncryptionByDefaultResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		return store.Settings.Put(tx, &resource.Setting{Name: encryptionSetting(info), Value: "true"})
	})
	if err != nil {
		return nil, err
	}
	return &shape.EnableEbsEncryptionByDefaultResult{EbsEncryptionByDefault: true}, nil
}

// DisableEbsEncryptionByDefault ends that. What is encrypted stays so.
func (s *Service) DisableEbsEncryptionByDefault(ctx context.Context, in *shape.DisableEbsEncryptionByDefaultRequest) (*shape.DisableEbsEncryptionByDefaultResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		store.Settings.Delete(tx, encryptionSetting(info))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisableEbsEncryptionByDefaultResult{}, nil
}

// GetEbsEncryptionByDefault says whether the account's new volumes are encrypted.
func (s *Service) GetEbsEncryptionByDefault(ctx context.Context, in *shape.GetEbsEncryptionByDefaultRequest) (*shape.GetEbsEncryptionByDefaultResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &shape.GetEbsEncryptionByDefaultResult{EbsEncryptionByDefault: encryptsByDefault(r, info)}, nil
}

// GetEbsDefaultKmsKeyId names the key of which the account's encrypted volumes are.
func (s *Service) GetEbsDefaultKmsKeyId(ctx context.Context, in *shape.GetEbsDefaultKmsKeyIdRequest) (*shape.GetEbsDefaultKmsKeyIdResult, error) {
	if _, _, err := s.read(ctx, in, in.DryRun); err != nil {
		return nil, err
	}
	return &shape.GetEbsDefaultKmsKeyIdResult{KmsKeyId: ebsKeyAlias}, nil
}
