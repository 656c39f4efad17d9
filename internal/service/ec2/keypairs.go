package ec2

import (
	"context"
	"errors"
	"unicode"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/sshkey"
	"karri.dev/internal/store"
)

// checkKeyName checks a new key pair's name: up to 255 printable ASCII characters.
func checkKeyName(name string) error {
	if name == "" {
		return errMissing("KeyName")
	}
	ok := utf8.RuneCountInString(name) <= 255
	for _, c := range name {
		ok = ok && c <= unicode.MaxASCII && unicode.IsPrint(c)
	}
	if !ok {
		return awserr.New("InvalidParameterValue", "Value for parameter KeyName is invalid. A key pair name has up to 255 printable ASCII characters.")
	}
	return nil
}

func errNoKeyPair(name string) error {
	return awserr.New("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
}

// keyPairByName gives the caller's key pair of that name, or nil.
func keyPairByName(r store.Reader, info *call.Info, name string) *resource.KeyPair {
	return store.KeyPairsByName.One(r, ownerKey(info)+"/"+name)
}

// putKeyPair stores a new key pair whose name must be free.
func (s *Service) putKeyPair(ctx context.Context, dryRun *bool, pair *resource.KeyPair) error {
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		var taken *store.DuplicateError
		if err := store.KeyPairs.Put(tx, pair); errors.As(err, &taken) {
			return awserr.New("InvalidKeyPair.Duplicate", "The keypair already exists")
		} else if err != nil {
			return err
		}
		return nil
	})
}

// CreateKeyPair makes a key pair, and answers the private key, which is kept nowhere.
func (s *Service) CreateKeyPair(ctx context.Context, in *shape.CreateKeyPairRequest) (*shape.CreateKeyPairResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkKeyName(in.KeyName); err != nil {
		return nil, err
	}
	if err := oneOf("KeyType", in.KeyType, sshkey.RSA, sshkey.Ed25519); err != nil {
		return nil, err
	}
	if err := oneOf("KeyFormat", in.KeyFormat, "pem", "ppk"); err != nil {
		return nil, err
	}
	if in.KeyFormat == "ppk" {
		return nil, errUnsupported("The key format ppk is not supported by this cloud. Use pem and convert it with puttygen.")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "key-pair")
	if err != nil {
		return nil, err
	}
	// Making an RSA key takes a while: not for a name that is taken anyway, nor for a dry run.
	if keyPairByName(s.Store.Snapshot(), info, in.KeyName) != nil {
		return nil, awserr.New("InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	kind := in.KeyType
	if kind == "" {
		kind = sshkey.RSA
	}
	private, public, err := sshkey.Generate(kind)
	if err != nil {
		return nil, err
	}
	pair := &resource.KeyPair{
		Owned: s.owned(info, tags["key-pair"]), ID: s.IDs.Resource("key-"), Name: in.KeyName,
		Type: kind, PublicKey: public.Line, Fingerprint: public.Fingerprint,
	}
	if err := s.putKeyPair(ctx, nil, pair); err != nil {
		return nil, err
	}
	return &shape.CreateKeyPairResult{
		KeyFingerprint: pair.Fingerprint, KeyMaterial: private, KeyName: pair.Name, KeyPairId: pair.ID, Tags: shapeTags(pair.Tags),
	}, nil
}

// ImportKeyPair stores a public key that the caller made.
func (s *Service) ImportKeyPair(ctx context.Context, in *shape.ImportKeyPairRequest) (*shape.ImportKeyPairResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkKeyName(in.KeyName); err != nil {
		return nil, err
	}
	if len(in.PublicKeyMaterial) == 0 {
		return nil, errMissing("PublicKeyMaterial")
	}
	public, err := sshkey.Import(in.PublicKeyMaterial)
	if err != nil {
		return nil, awserr.New("InvalidKey.Format", "Key is not in valid OpenSSH public key format").Because(err)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "key-pair")
	if err != nil {
		return nil, err
	}
	pair := &resource.KeyPair{
		Owned: s.owned(info, tags["key-pair"]), ID: s.IDs.Resource("key-"), Name: in.KeyName,
		Type: public.Type, PublicKey: public.Line, Fingerprint: public.Fingerprint,
	}
	if err := s.putKeyPair(ctx, in.DryRun, pair); err != nil {
		return nil, err
	}
	return &shape.ImportKeyPairResult{KeyFingerprint: pair.Fingerprint, KeyName: pair.Name, KeyPairId: pair.ID, Tags: shapeTags(pair.Tags)}, nil
}

var keyPairFilters = &filter.Set[*resource.KeyPair]{
	Fields: map[string]func(*resource.KeyPair) []string{
		"key-pair-id": func(k *resource.KeyPair) []string { return one(k.ID) },
		"fingerprint": func(k *resource.KeyPair) []string { return one(k.Fingerprint) },
		"key-name":    func(k *resource.KeyPair) []string { return one(k.Name) },
	},
	Tags: func(k *resource.KeyPair) map[string]string { return k.Tags },
}

// DescribeKeyPairs lists key pairs.
func (s *Service) DescribeKeyPairs(ctx context.Context, in *shape.DescribeKeyPairsRequest) (*shape.DescribeKeyPairsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(keyPairFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	wanted := in.KeyPairIds
	for _, name := range in.KeyNames {
		pair := keyPairByName(r, info, name)
		if pair == nil {
			return nil, errNoKeyPair(name)
		}
		wanted = append(wanted, pair.ID)
	}
	list, _, err := list(s, r, info, keyPairs, selection[resource.KeyPair]{op: "DescribeKeyPairs", ids: wanted, match: match})
	if err != nil {
		return nil, err
	}
	out := make([]shape.KeyPairInfo, len(list))
	for i, k := range list {
		out[i] = shape.KeyPairInfo{KeyPairId: k.ID, KeyFingerprint: k.Fingerprint, KeyName: k.Name, KeyType: k.Type, Tags: shapeTags(k.Tags), CreateTime: k.CreatedAt}
		if isTrue(in.IncludePublicKey) {
			out[i].PublicKey = k.PublicKey
		}
	}
	return &shape.DescribeKeyPairsResult{KeyPairs: out}, nil
}

// DeleteKeyPair deletes a key pair. As in AWS, a name that is not there is no error.
func (s *Service) DeleteKeyPair(ctx context.Context, in *shape.DeleteKeyPairRequest) (*shape.DeleteKeyPairResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.KeyName == "" && in.KeyPairId == "" {
		return nil, errMissing("KeyName")
	}
	if in.KeyName != "" && in.KeyPairId != "" {
		return nil, errCombination("The parameters KeyName and KeyPairId cannot be used together")
	}
	var deleted string
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		deleted = ""
		pair := keyPairByName(tx, info, in.KeyName)
		if in.KeyPairId != "" {
			if pair, err = keyPairs.find(tx, info, in.KeyPairId); err != nil {
				return err
			}
		}
		if pair != nil {
			deleted = pair.ID
			store.KeyPairs.Delete(tx, pair.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteKeyPairResult{Return: true, KeyPairId: deleted}, nil
}
