package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/totp"
)

const (
	// MaxDevices is how many MFA devices a user may have.
	MaxDevices = 8
	// seedSize is that of AWS's seeds: 64 characters of Base32.
	seedSize = 40
	// Reaches in steps of 30 seconds: of a code at a login, and of the two that say how wrong a device's clock is.
	codeReach = 1
	syncReach = 20
)

// ErrCode says that a code is wrong or was used already, ErrNoDevice that its device is not the user's.
var (
	ErrCode     = errors.New("the code is not valid")
	ErrNoDevice = errors.New("the user has no such MFA device")
)

func deviceContext(d *resource.MFADevice) string { return "mfa-device:" + d.ARN() }

// NewSeed gives a fresh device its seed.
func (i *Identity) NewSeed(d *resource.MFADevice) []byte {
	seed := make([]byte, seedSize)
	rand.Read(seed)
	d.Sealed = i.deps.Sealer.Seal(seed, deviceContext(d))
	return seed
}

// SealCertificateKey seals the key of a server certificate, for whoever will serve with it.
func (i *Identity) SealCertificateKey(id string, key []byte) []byte {
	return i.deps.Sealer.Seal(key, "server-certificate:"+id)
}

// DevicesOf gives a user's MFA devices in order of key.
func DevicesOf(r store.Reader, userID string) iter.Seq[*resource.MFADevice] {
	return store.MFADevicesByUser.By(r, userID)
}

// SyncDevice checks two codes in a row and notes how wrong the device's clock is. change gets a copy of the device
// as it is in the store, and may refuse or change it; what it leaves is stored.
func (i *Identity) SyncDevice(ctx context.Context, find func(store.Reader) (*resource.MFADevice, error), change func(*store.Tx, *resource.MFADevice) error, first, second string) error {
	d, err := find(i.deps.Store.Snapshot())
	if err != nil {
		return err
	}
	for _, c := range []string{first, second} {
		if len(c) != totp.Digits || !only(c, func(c byte) bool { return c >= '0' && c <= '9' }) {
			return invalid(`1 validation error detected: Value at 'authenticationCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [\d]{6}`)
		}
	}
	now, key := i.Now(), tryKey("device", d.ARN())
	if !i.tries.take(key, deviceTries, now) {
		return awserr.New("Throttling", "Rate exceeded")
	}
	seed, err := i.deps.Sealer.Open(d.Sealed, deviceContext(d))
	if err != nil {
		return err
	}
	at := totp.Step(now)
	step, ok := totp.Find(seed, at-1, syncReach, first, second)
	err = i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		have, err := find(tx)
		if err != nil {
			return err
		}
		if !bytes.Equal(have.Sealed, d.Sealed) {
			return awserr.New("EntityTemporarilyUnmodifiable", "The MFA device was made anew. Please try again.").WithStatus(409)
		}
		next := *have
		if err := change(tx, &next); err != nil {
			return err
		}
		if !ok || step <= have.LastStep {
			return awserr.New("InvalidAuthenticationCode", "Authentication code for device is not valid").WithStatus(403)
		}
		next.Drift, next.LastStep = step+1-at, step+1
		return store.MFADevices.Put(tx, &next)
	})
	if err == nil {
		i.tries.giveBack(key)
	}
	return err
}

// CheckCode takes a code of one of a user's devices: serial says which, "" is any of them. Each code counts once.
// Errors are ErrCode, ErrNoDevice, Throttling, and what is wrong with the store.
func (i *Identity) CheckCode(ctx context.Context, userID, serial, code string) error {
	now := i.Now()
	var key string
	var names []string
	for d := range DevicesOf(i.deps.Store.Snapshot(), userID) {
		if userID == "" || serial != "" && d.ARN() != serial {
			continue
		}
		key = tryKey("device", d.ARN())
		if !i.tries.take(key, deviceTries, now) {
			return awserr.New("Throttling", "Rate exceeded")
		}
		took, err := i.takeCode(ctx, d, code, now)
		if err != nil {
			return err
		}
		if took {
			i.tries.giveBack(key)
			for _, other := range names { // its code was not theirs, and nobody guessed
				i.tries.giveBack(other)
			}
			return nil
		}
		names = append(names, key)
	}
	if key == "" {
		return ErrNoDevice
	}
	return ErrCode
}

// takeCode notes that a code was used, if it is right and newer than the last one.
func (i *Identity) takeCode(ctx context.Context, d *resource.MFADevice, code string, now time.Time) (took bool, err error) {
	seed, err := i.deps.Sealer.Open(d.Sealed, deviceContext(d))
	if err != nil {
		return false, err
	}
	step, ok := totp.Find(seed, totp.Step(now)+d.Drift, codeReach, code)
	if !ok {
		return false, nil
	}
	err = i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		took = false
		have := store.MFADevices.Get(tx, store.UserKey(d.AccountID, d.Name))
		if have == nil || have.UserID != d.UserID || !bytes.Equal(have.Sealed, d.Sealed) || step <= have.LastStep {
			return nil
		}
		next := *have
		next.LastStep, took = step, true
		return store.MFADevices.Put(tx, &next)
	})
	return took && err == nil, err
}
