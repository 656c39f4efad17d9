package userdata_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

func sealer(t *testing.T, first byte) *seal.Sealer {
	t.Helper()
	key := make([]byte, seal.KeySize)
	key[0] = first
	s, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is stored does not have it, what is read has it again, and only where it belongs.
func TestSealed(t *testing.T) {
	s := sealer(t, 1)
	secret := []byte("#!/bin/sh\nPASSWORD=hunter2\n")
	inst := &resource.Instance{ID: "i-1"}
	userdata.Set(s, inst, secret)
	v := &resource.LaunchTemplateVersion{TemplateID: "lt-1", Number: 1}
	if err := userdata.SetData(s, v, []byte(`{"ImageId":"ami-1","UserData":"aHVudGVyMg=="}`)); err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal([]any{inst, v})
	if err != nil || bytes.Contains(stored, []byte("hunter2")) || bytes.Contains(stored, []byte("aHVudGVyMg")) {
		t.Errorf("%s %v", stored, err)
	}
	if got, err := userdata.Of(s, inst); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%q %v", got, err)
	}
	var data struct{ ImageId, UserData string }
	if got, err := userdata.Data(s, v); err != nil || json.Unmarshal(got, &data) != nil || data.ImageId != "ami-1" || data.UserData != "aHVudGVyMg==" {
		t.Errorf("%s %v", got, err)
	}
	inst.ID, v.Number = "i-2", 11
	if got, err := userdata.Of(s, inst); err == nil {
		t.Errorf("another instance opens it: %q", got)
	}
	if got, err := userdata.Data(s, v); err == nil {
		t.Errorf("another version opens it: %q", got)
	}
	if got, err := userdata.Of(nil, inst); err == nil {
		t.Errorf("without a key: %q", got)
	}
	userdata.Set(s, inst, nil)
	if got, err := userdata.Of(s, inst); err != nil || len(got) != 0 || inst.SealedUserData != nil {
		t.Errorf("%q %v", got, err)
	}
}

// Records of before are read as they are, and are sealed by and by.
func TestRecordsOfBefore(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	s, ctx := sealer(t, 1), context.Background()
	const many = 250 // more than two transactions
	err := st.Update(ctx, func(tx *store.Tx) error {
		for i := range many {
			if err := store.Instances.Put(tx, &resource.Instance{ID: fmt.Sprint("i-", i), UserData: []byte(fmt.Sprint("secret", i))}); err != nil {
				return err
			}
		}
		if err := store.Instances.Put(tx, &resource.Instance{ID: "i-none"}); err != nil {
			return err
		}
		return store.LaunchTemplateVersions.Put(tx, &resource.LaunchTemplateVersion{TemplateID: "lt-1", Number: 1, Data: []byte(`{"ImageId":"ami-1","UserData":"c2VjcmV0"}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(sealed bool) {
		t.Helper()
		r := st.Snapshot()
		for i := range many {
			inst := store.Instances.Get(r, fmt.Sprint("i-", i))
			got, err := userdata.Of(s, inst)
			if err != nil || string(got) != fmt.Sprint("secret", i) || sealed != (inst.UserData == nil) {
				t.Fatalf("%s: %q %v", inst.ID, got, err)
			}
		}
		v := store.LaunchTemplateVersions.Get(r, store.VersionKey("lt-1", 1))
		var data struct{ UserData string }
		got, err := userdata.Data(s, v)
		if err != nil || json.Unmarshal(got, &data) != nil || data.UserData != "c2VjcmV0" || sealed == bytes.Contains(v.Data, []byte("c2VjcmV0")) {
			t.Errorf("%s %v", got, err)
		}
	}
	check(false)
	for range 2 {
		if err := userdata.SealOld(ctx, st, s); err != nil {
			t.Fatal(err)
		}
		check(true)
	}
	if inst := store.Instances.Get(st.Snapshot(), "i-none"); inst.SealedUserData != nil {
		t.Error("nothing was sealed")
	}
}
