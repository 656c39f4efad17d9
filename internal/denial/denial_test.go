package denial

import (
	"bytes"
	"errors"
	"testing"

	"karri.dev/internal/seal"
)

func TestMessages(t *testing.T) {
	s, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	c := New(s)
	m := &Message{ExplicitDeny: true, Context: Context{Action: "ec2:RunInstances", Resource: "*", Principal: Principal{ID: "AIDA", ARN: "arn:x"}}}
	text, err := c.Encode("123456789012", m)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"allowed":false,"explicitDeny":true,"matchedStatements":{"items":null},"failures":{"items":null},"context":{"principal":{"id":"AIDA","arn":"arn:x"},"action":"ec2:RunInstances","resource":"*","conditions":{"items":null}}}`
	if got, err := c.Decode("123456789012", text); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	for name, bad := range map[string][2]string{
		"other account": {"123456789013", text}, "cut": {"123456789012", text[:len(text)-4]}, "garbage": {"123456789012", "x"}, "empty": {"123456789012", ""},
	} {
		if _, err := c.Decode(bad[0], bad[1]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
