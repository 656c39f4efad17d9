// Package membership says who belongs to the cloud: its authorities, join tokens, and the exchange by which
// a zone or node process gets its certificates and renews them.
package membership

import (
	"context"
	"fmt"
	"time"

	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// Authorities are the cloud's two: Root says who is who; Store alone opens the state store, which only
// cloud and zone processes may.
type Authorities struct{ Root, Store *pki.Authority }

// Bootstrap loads the authorities, and makes them in a new cloud.
func Bootstrap(ctx context.Context, st *store.Store, sealer *seal.Sealer, now func() time.Time) (*Authorities, error) {
	root, err := authority(ctx, st, sealer, now, "root")
	if err != nil {
		return nil, err
	}
	keeper, err := authority(ctx, st, sealer, now, "store")
	if err != nil {
		return nil, err
	}
	return &Authorities{Root: root, Store: keeper}, nil
}

func authority(ctx context.Context, st *store.Store, sealer *seal.Sealer, now func() time.Time, name string) (*pki.Authority, error) {
	sealContext := "authority:" + name
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
			return nil, fmt.Errorf("make the %s authority: %w", name, err)
		}
	}
	key, err := sealer.Open(rec.SealedKey, sealContext)
	if err != nil {
		return nil, fmt.Errorf("open the %s authority's key (is this the cloud's key file?): %w", name, err)
	}
	return pki.LoadAuthority(rec.Certificate, key, now)
}
