package iam

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxSSHKeys is how many SSH keys a user may have.
const maxSSHKeys = 5

// readSSHKey reads an RSA key in OpenSSH's or in PEM's form.
func readSSHKey(body string) (ssh.PublicKey, error) {
	if n := len(body); n < 1 || n > 16384 {
		return nil, invalid("1 validation error detected: Value at 'SSHPublicKeyBody' failed to satisfy constraint: Member must have length between 1 and 16384")
	}
	var key ssh.PublicKey
	if block, rest := pem.Decode([]byte(body)); block != nil {
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err == nil && len(strings.TrimSpace(string(rest))) == 0 {
			key, err = ssh.NewPublicKey(public)
		}
		if err != nil || key == nil {
			return nil, awserr.New("InvalidPublicKey", "The public key is malformed or otherwise invalid.")
		}
	} else {
		parsed, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(body))
		if err != nil || len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0 {
			return nil, awserr.New("UnrecognizedPublicKeyEncoding", "The public key encoding format is unsupported or unrecognized.")
		}
		key = parsed
	}
	if crypto, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() >= 2048 && k.N.BitLen() <= 16384 {
			return key, nil
		}
	}
	return nil, awserr.New("InvalidPublicKey", "The public key must be an RSA key of at least 2048 bits.")
}

// UploadSSHPublicKey gives a user an SSH key.
func (s *Service) UploadSSHPublicKey(ctx context.Context, in *shape.UploadSSHPublicKeyRequest) (*shape.UploadSSHPublicKeyResult, error) {
	key, err := readSSHKey(in.SSHPublicKeyBody)
	if err != nil {
		return nil, err
	}
	k := &resource.SSHPublicKey{
		ID: s.identity.NewID("APKA"), AccountID: call.From(ctx).AccountID, Body: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
		Fingerprint: ssh.FingerprintLegacyMD5(key), Active: true, UploadedAt: s.identity.Now(),
	}
	var name string
	err = s.update(ctx, func(tx *store.Tx) error {
		u, err := identity.FindUser(tx, k.AccountID, in.UserName)
		if err != nil {
			return err
		}
		n := 0
		for have := range store.SSHPublicKeysByUser.By(tx, u.ID) {
			if n++; have.Body == k.Body {
				return awserr.New("DuplicateSSHPublicKey", "The SSH public key is already associated with the user.")
			}
		}
		if n >= maxSSHKeys {
			return identity.OverQuota("SSHPublicKeysPerUser", maxSSHKeys)
		}
		k.UserID, name = u.ID, u.Name
		return store.SSHPublicKeys.Put(tx, k)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UploadSSHPublicKeyResult{SSHPublicKey: sshKeyOut(k, name)}, nil
}

func sshKeyOut(k *resource.SSHPublicKey, user string) *shape.SSHPublicKey {
	return &shape.SSHPublicKey{
		UserName: user, SSHPublicKeyId: k.ID, Fingerprint: k.Fingerprint, SSHPublicKeyBody: k.Body, Status: status(k.Active), UploadDate: k.UploadedAt,
	}
}

// findSSHKey gives a user's key.
func findSSHKey(r store.Reader, account, user, id string) (*resource.User, *resource.SSHPublicKey, error) {
	u, err := identity.FindUser(r, account, user)
	if err != nil {
		return nil, nil, err
	}
	k := store.SSHPublicKeys.Get(r, id)
	if k == nil || k.UserID != u.ID {
		return nil, nil, noEntity("The Public Key with id %.128s cannot be found.", id)
	}
	return u, k, nil
}

// GetSSHPublicKey gives a user's key in OpenSSH's or in PEM's form.
func (s *Service) GetSSHPublicKey(ctx context.Context, in *shape.GetSSHPublicKeyRequest) (*shape.GetSSHPublicKeyResult, error) {
	u, k, err := findSSHKey(s.store.Snapshot(), call.From(ctx).AccountID, in.UserName, in.SSHPublicKeyId)
	if err != nil {
		return nil, err
	}
	out := sshKeyOut(k, u.Name)
	switch in.Encoding {
	case shape.EncodingTypeSsh:
	case shape.EncodingTypePem:
		key, err := readSSHKey(k.Body)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKIXPublicKey(key.(ssh.CryptoPublicKey).CryptoPublicKey())
		if err != nil {
			return nil, err
		}
		out.SSHPublicKeyBody = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	default:
		return nil, awserr.New("UnrecognizedPublicKeyEncoding", "The encoding must be SSH or PEM.")
	}
	return &shape.GetSSHPublicKeyResult{SSHPublicKey: out}, nil
}

// ListSSHPublicKeys lists a user's SSH keys, or those of who is calling where no name is given.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *shape.ListSSHPublicKeysRequest) (*shape.ListSSHPublicKeysResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	c, snap := call.From(ctx).Caller, s.store.Snapshot()
	name, err := owner(c, in.UserName)
	if err != nil {
		return nil, err
	}
	var all []shape.SSHPublicKeyMetadata
	if name != "" { // root has none
		u, err := identity.FindUser(snap, c.AccountID, name)
		if err != nil {
			return nil, err
		}
		for k := range store.SSHPublicKeysByUser.By(snap, u.ID) {
			all = append(all, shape.SSHPublicKeyMetadata{UserName: u.Name, SSHPublicKeyId: k.ID, Status: status(k.Active), UploadDate: k.UploadedAt})
		}
	}
	slices.SortFunc(all, func(a, b shape.SSHPublicKeyMetadata) int { return strings.Compare(a.SSHPublicKeyId, b.SSHPublicKeyId) })
	out := &shape.ListSSHPublicKeysResult{}
	out.SSHPublicKeys, out.Marker = cut(p, all, func(k shape.SSHPublicKeyMetadata) string { return k.SSHPublicKeyId })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// UpdateSSHPublicKey activates or deactivates a key.
func (s *Service) UpdateSSHPublicKey(ctx context.Context, in *shape.UpdateSSHPublicKeyRequest) (*shape.UpdateSSHPublicKeyResult, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		_, k, err := findSSHKey(tx, call.From(ctx).AccountID, in.UserName, in.SSHPublicKeyId)
		if err != nil {
			return err
		}
		next := *k
		next.Active = in.Status == shape.StatusTypeActive
		return store.SSHPublicKeys.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateSSHPublicKeyResult{}, nil
}

// DeleteSSHPublicKey deletes a key.
func (s *Service) DeleteSSHPublicKey(ctx context.Context, in *shape.DeleteSSHPublicKeyRequest) (*shape.DeleteSSHPublicKeyResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		_, k, err := findSSHKey(tx, call.From(ctx).AccountID, in.UserName, in.SSHPublicKeyId)
		if err == nil {
			store.SSHPublicKeys.Delete(tx, k.ID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSSHPublicKeyResult{}, nil
}
