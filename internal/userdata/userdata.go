// Package userdata keeps what instances are given for their guests, and launch templates for instances, sealed at rest:
// people put passwords and keys into it. Records of before have it in clear and are read as they are, until SealOld.
package userdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

var errNoKey = errors.New("user data: there is no key for it")

// Set gives an instance user data.
func Set(s *seal.Sealer, inst *resource.Instance, data []byte) {
	inst.UserData, inst.SealedUserData = nil, nil
	if len(data) > 0 {
		inst.SealedUserData = s.Seal(data, sealedWith(inst.ID))
	}
}

// Of gives an instance's user data.
func Of(s *seal.Sealer, inst *resource.Instance) ([]byte, error) {
	return open(s, inst.UserData, inst.SealedUserData, inst.ID)
}

// SetData gives a version of a launch template its parameters, a JSON object.
func SetData(s *seal.Sealer, v *resource.LaunchTemplateVersion, data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("take launch template data apart: %w", err)
	}
	v.Data, v.SealedUserData = data, nil
	secret, ok := members[member]
	if !ok || string(secret) == `""` {
		return nil
	}
	v.SealedUserData = s.Seal(secret, sealedWith(v.TemplateID, v.Number))
	delete(members, member)
	var err error
	v.Data, err = json.Marshal(members)
	return err
}

// Data gives the parameters of a version of a launch template, whole.
func Data(s *seal.Sealer, v *resource.LaunchTemplateVersion) (json.RawMessage, error) {
	secret, err := open(s, nil, v.SealedUserData, v.TemplateID, v.Number)
	if err != nil || secret == nil {
		return v.Data, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(v.Data, &members); err != nil {
		return nil, fmt.Errorf("put launch template data together: %w", err)
	}
	members[member] = secret
	return json.Marshal(members)
}

// member is that of the launch parameters.
const member = "UserData"

func open(s *seal.Sealer, plain, sealed []byte, name ...any) ([]byte, error) {
	if sealed == nil {
		return plain, nil
	}
	if s == nil {
		return nil, errNoKey
	}
	return s.Open(sealed, sealedWith(name...))
}

// sealedWith is what user data of an instance, or of a numbered version, is sealed with.
func sealedWith(name ...any) string { return "user-data:" + fmt.Sprint(name...) }

// batch is how many records SealOld changes in a transaction.
const batch = 100

// SealOld seals what records of before have in clear.
func SealOld(ctx context.Context, st *store.Store, s *seal.Sealer) error {
	for {
		left := false
		err := st.Update(ctx, func(tx *store.Tx) error {
			var old []*resource.Instance
			for inst := range store.Instances.All(tx) {
				if len(inst.UserData) > 0 && len(old) < batch {
					old = append(old, inst)
				}
			}
			var versions []*resource.LaunchTemplateVersion
			for v := range store.LaunchTemplateVersions.All(tx) {
				if v.SealedUserData == nil && hasUserData(v.Data) && len(versions) < batch {
					versions = append(versions, v)
				}
			}
			left = len(old) == batch || len(versions) == batch
			for _, inst := range old {
				next := *inst
				Set(s, &next, inst.UserData)
				if err := store.Instances.Put(tx, &next); err != nil {
					return err
				}
			}
			for _, v := range versions {
				next := *v
				if err := SetData(s, &next, v.Data); err != nil {
					return err
				}
				if err := store.LaunchTemplateVersions.Put(tx, &next); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("seal user data of before: %w", err)
		}
		if !left {
			return nil
		}
	}
}

func hasUserData(data []byte) bool {
	var d struct{ UserData string }
	return json.Unmarshal(data, &d) == nil && d.UserData != ""
}
