// Package membership says who belongs to the cloud: its authorities, join tokens, and the exchange by which
// a zone or node process gets its certificates and renews them.
package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"karri.dev/internal/durable"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// Root loads the authority that says who is who, and makes it in a new cloud. All cloud processes share it.
func Root(ctx context.Context, st *store.Store, sealer *seal.Sealer, now func() time.Time) (*pki.Authority, error) {
	const name, sealContext = "root", "authority:root"
	rec := store.Authorities.Get(st.Snapshot(), name)
	if rec == nil {
		made, err := pki.NewAuthority("karri "+name, now)
		if err != nil {
			return nil, err
		}
		key, err := made.Key()
		if err != nil {
			return nil, err
		}
		err = st.Update(ctx, func(tx *store.Tx) error {
			if rec = store.Authorities.Get(tx, name); rec != nil {
				return nil // another process was faster
			}
			rec = &resource.Authority{Name: name, Certificate: made.Certificate(), SealedKey: sealer.Seal(key, sealContext)}
			return store.Authorities.Put(tx, rec)
		})
		if err != nil {
			return nil, fmt.Errorf("make the root authority: %w", err)
		}
	}
	key, err := sealer.Open(rec.SealedKey, sealContext)
	if err != nil {
		return nil, fmt.Errorf("open the root authority's key (is this the cloud's key file?): %w", err)
	}
	return pki.LoadAuthority(rec.Certificate, key, now)
}

// StoreAuthority loads the authority that opens the embedded state store, which only cloud and zone processes
// may. It is needed before the store is open, so it lives in a sealed file beside it.
func StoreAuthority(path string, sealer *seal.Sealer, now func() time.Time) (*pki.Authority, error) {
	const sealContext = "authority:store"
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		made, err := pki.NewAuthority("karri store", now)
		if err != nil {
			return nil, err
		}
		key, err := made.Key()
		if err != nil {
			return nil, err
		}
		rec, err := json.Marshal(resource.Authority{Name: "store", Certificate: made.Certificate(), SealedKey: sealer.Seal(key, sealContext)})
		if err != nil {
			return nil, err
		}
		return made, durable.WriteFile(path, rec, 0o600)
	}
	if err != nil {
		return nil, err
	}
	var rec resource.Authority
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, fmt.Errorf("read the store's authority: %w", err)
	}
	key, err := sealer.Open(rec.SealedKey, sealContext)
	if err != nil {
		return nil, fmt.Errorf("open the store authority's key (is this the cloud's key file?): %w", err)
	}
	return pki.LoadAuthority(rec.Certificate, key, now)
}
