package membership

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// BundleKey loads the key for which users encrypt bundles, with its certificate (DER), and makes them in a new
// cloud. The format of bundles wants RSA.
func BundleKey(ctx context.Context, st *store.Store, sealer *seal.Sealer, now func() time.Time) (*rsa.PrivateKey, []byte, error) {
	const name, sealContext = "bundles", "authority:bundles"
	rec := store.Authorities.Get(st.Snapshot(), name)
	if rec == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, nil, fmt.Errorf("make the key for bundles: %w", err)
		}
		t := &x509.Certificate{
			SerialNumber: big.NewInt(now().UnixNano()), Subject: pkix.Name{CommonName: "karri bundles"}, NotBefore: now().Add(-time.Hour),
			NotAfter: now().AddDate(30, 0, 0), KeyUsage: x509.KeyUsageKeyEncipherment,
		}
		der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
		if err != nil {
			return nil, nil, fmt.Errorf("make the certificate for bundles: %w", err)
		}
		err = st.Update(ctx, func(tx *store.Tx) error {
			if rec = store.Authorities.Get(tx, name); rec != nil {
				return nil // another process was faster
			}
			rec = &resource.Authority{Name: name, Certificate: der, SealedKey: sealer.Seal(x509.MarshalPKCS1PrivateKey(key), sealContext)}
			return store.Authorities.Put(tx, rec)
		})
		if err != nil {
			return nil, nil, fmt.Errorf("keep the key for bundles: %w", err)
		}
	}
	plain, err := sealer.Open(rec.SealedKey, sealContext)
	if err != nil {
		return nil, nil, fmt.Errorf("open the key for bundles (is this the cloud's key file?): %w", err)
	}
	key, err := x509.ParsePKCS1PrivateKey(plain)
	if err != nil {
		return nil, nil, fmt.Errorf("read the key for bundles: %w", err)
	}
	return key, rec.Certificate, nil
}
