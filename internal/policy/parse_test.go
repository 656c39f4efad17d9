package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var kinds = map[string]Kind{"identity": Identity, "boundary": Boundary, "session": Session, "resource": Resource, "trust": Trust}

// TestErrors reads testdata/errors.txt: blocks of a kind and a policy in one line, and the message in the next.
func TestErrors(t *testing.T) {
	const file = "testdata/errors.txt"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(old)) {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		b.WriteString(line)
		word, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if kind := kinds[word]; ok && kind != 0 {
			_, err := Parse(text, kind)
			fmt.Fprintf(&b, "\t%v\n", err)
			if err == nil {
				t.Errorf("accepted: %s", line)
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(old), b.String()); diff != "" && !*update {
		t.Error(diff)
	}
}

func TestForms(t *testing.T) {
	const text = `{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["111111111111","*"],"Service":"vmie.amazonaws.com","Federated":"accounts.google.com","CanonicalUser":"` +
		"0000000000000000000000000000000000000000000000000000000000000000" + `"},"Action":["s3:*","s3:Get<&>*"],"Resource":"arn:aws:s3:::b","Condition":{"Bool":{"aws:SecureTransport":"true"},"NumericLessThan":{"s3:max-keys":["5","1e1"],"k:x":"7"}}}]}`
	fixed := strings.Replace(text, "s3:Get<&>*", "s3:Get*", 1)
	p := mustParse(t, strings.NewReplacer(`"true"`, " true ", `"5"`, "5", `"1e1"`, "1e1", ":[{", ": {", "}]}", "} }").Replace(fixed), Resource)
	if got := p.Document().JSON(); got != fixed {
		t.Errorf("got  %s\nwant %s", got, fixed)
	}
	if _, err := Parse(text, Resource); err == nil {
		t.Error("an action with odd characters")
	}
}

func TestSize(t *testing.T) {
	if n := Size("{ \"é\" :\n\t\r1}"); n != 7 {
		t.Error(n)
	}
	if _, err := Parse(strings.Repeat(" ", MaxText+1), Identity); err == nil {
		t.Error("no limit")
	}
}

// FuzzParse: no panic; what is accepted prints to a text that gives the same document and prints the same.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if word, text, ok := strings.Cut(strings.TrimSpace(line), " "); ok && kinds[word] != 0 {
			f.Add(text, byte(kinds[word]))
		}
	}
	managed, err := Managed()
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range managed {
		f.Add(m.Text, byte(Identity))
	}
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111111111111"},"NotAction":"s3:*","NotResource":"arn:aws:s3:::b/${a:b, 'c'}","Condition":{"ForAllValues:ArnLikeIfExists":{"a:b":["x",5,true]}}}}`, byte(Resource))
	f.Fuzz(func(t *testing.T, text string, kind byte) {
		p, err := Parse(text, Kind(kind%5)+1)
		if err != nil {
			if err.Error() == "" {
				t.Error("an empty message")
			}
			return
		}
		for i := range p.Document().Statements {
			if start, end, ok := p.Span(&p.Document().Statements[i]); !ok || !json.Valid([]byte(text[start:end])) || text[start] != '{' {
				t.Fatalf("statement %d is not at %d to %d", i+1, start, end)
			}
		}
		for _, key := range p.Keys() {
			if !strings.Contains(strings.ToLower(text), strings.ToLower(key)) && !strings.Contains(text, "\\") {
				t.Fatalf("the key %q is not in the text", key)
			}
		}
		printed := p.Document().JSON()
		again, err := Parse(printed, Kind(kind%5)+1)
		if err != nil {
			t.Fatalf("%v: %s", err, printed)
		}
		if diff := cmp.Diff(p.Document(), again.Document()); diff != "" {
			t.Fatal(diff)
		}
		if again.Document().JSON() != printed {
			t.Fatal("prints differently")
		}
		r := &Request{Principal: worldPrincipals[2], Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::b/k", Context: mapContext{"k:x": {"a", "b"}}}
		Evaluate(r, &Policies{Identity: []*Policy{p}, Resource: p, Boundary: p})
		p.Limits()
	})
}
