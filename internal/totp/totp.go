// Package totp computes the codes of virtual MFA devices: RFC 6238 with HMAC-SHA1, six digits, a new one every 30
// seconds, which is what every authenticator program does.
package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

const (
	// Digits of a code.
	Digits = 6
	// Period of a code.
	Period = 30 * time.Second
)

// Step numbers the period of a time.
func Step(t time.Time) int64 { return t.Unix() / int64(Period/time.Second) }

// Code gives the code of a step.
func Code(seed []byte, step int64) string {
	m := hmac.New(sha1.New, seed)
	_ = binary.Write(m, binary.BigEndian, uint64(step))
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// Find gives the step, among those within reach of one, whose codes these are, one a step; ok: there is one. It takes
// the same time wherever that is.
func Find(seed []byte, around, reach int64, codes ...string) (step int64, ok bool) {
	for s := around - reach; s <= around+reach; s++ {
		same := 1
		for i, code := range codes {
			same &= subtle.ConstantTimeCompare([]byte(Code(seed, s+int64(i))), []byte(code))
		}
		if same == 1 {
			step, ok = s, true
		}
	}
	return step, ok && len(codes) > 0
}

// Base32 is the seed as people type it into a program.
func Base32(seed []byte) string { return base32.StdEncoding.EncodeToString(seed) }

// URL is what a QR code for a program holds.
func URL(seed []byte, device, account string) string {
	label := url.PathEscape(device + "@" + account)
	return "otpauth://totp/Karri:" + label + "?" + url.Values{"secret": {Base32(seed)}, "issuer": {"Karri"}}.Encode()
}
