package page

import (
	"bytes"
	"testing"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/seal"
)

func tokens(t testing.TB, b byte) *Tokens {
	s, err := seal.New(bytes.Repeat([]byte{b}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return New(s)
}

func TestTokens(t *testing.T) {
	p := tokens(t, 1)
	tok := p.Make("i-1", "111", "DescribeInstances")
	if key, err := p.Open(tok, "111", "DescribeInstances"); err != nil || key != "i-1" {
		t.Fatalf("%q, %v", key, err)
	}
	if key, err := p.Open("", "any"); err != nil || key != "" {
		t.Fatalf("empty: %q, %v", key, err)
	}
	flipped := []byte(tok)
	flipped[len(flipped)/2] ^= 1
	for name, err := range map[string]error{
		"other account": second(p.Open(tok, "222", "DescribeInstances")),
		"other call":    second(p.Open(tok, "111", "DescribeImages")),
		"other cloud":   second(tokens(t, 2).Open(tok, "111", "DescribeInstances")),
		"flipped":       second(p.Open(string(flipped), "111", "DescribeInstances")),
		"rubbish":       second(p.Open("rubbish!", "111", "DescribeInstances")),
		"huge":          second(p.Open(string(make([]byte, 1<<20)), "111")),
	} {
		if awserr.Code(err) != "InvalidNextToken" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ string, err error) error { return err }

func FuzzOpen(f *testing.F) {
	p := tokens(f, 1)
	f.Add(p.Make("k", "s"))
	f.Add("x")
	f.Fuzz(func(t *testing.T, token string) { p.Open(token, "t") })
}
