package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// fields is a Context as a front door would have it: a switch over fields.
type fields struct {
	source  netip.Addr
	secure  bool
	region  string
	tagKeys []string
}

func (f *fields) Value(k Key) (Value, bool) {
	switch k.Name {
	case "aws:sourceip":
		return Addr(f.source), true
	case "aws:securetransport":
		return Bool(f.secure), true
	case "aws:requestedregion":
		return String(f.region), true
	case "aws:tagkeys":
		return Strings(f.tagKeys), len(f.tagKeys) > 0
	}
	return Value{}, false
}

// load is 10 policies of 20 statements; the last one allows. In the worst of them every statement's action
// matches the request, so that resources, variables and conditions are looked at 200 times.
func load(t testing.TB, worst bool) (*Request, *Policies) {
	p := &Policies{}
	for i := range 10 {
		var statements []string
		for j := range 20 {
			action := fmt.Sprintf(`["ec2:Describe%d","iam:Get*","s3:Put%dObject*"]`, j, j)
			if worst {
				action = `["ec2:Describe*","s3:Get*"]`
			}
			s := fmt.Sprintf(`{"Effect":"Allow","Action":%s,"Resource":["arn:aws:s3:::bucket-%d/*","arn:aws:s3:::home/${aws:username}/%d/*"]}`, action, j, j)
			if j%4 == 0 {
				s = fmt.Sprintf(`{"Effect":"Deny","Action":%s,"Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.0/24"]},"StringNotEquals":{"aws:RequestedRegion":"r-%d"}}}`, action, j)
			}
			statements = append(statements, s)
		}
		if i == 9 {
			statements[19] = `{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::home/${aws:username}/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`
		}
		p.Identity = append(p.Identity, mustParse(t, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`, Identity))
	}
	return &Request{
		Principal: worldPrincipals[2], Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::home/ann/file",
		Context: &fields{source: netip.MustParseAddr("10.1.2.3"), secure: true, region: "us-east-1"},
	}, p
}

func BenchmarkEvaluate(b *testing.B) {
	for _, c := range []struct {
		name  string
		worst bool
	}{{"typical", false}, {"worst", true}} {
		b.Run(c.name, func(b *testing.B) {
			r, p := load(b, c.worst)
			b.ReportAllocs()
			for b.Loop() {
				if !Evaluate(r, p).Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
	b.Run("administrator", func(b *testing.B) {
		r, _ := load(b, false)
		p := &Policies{Identity: []*Policy{mustParse(b, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, Identity)}}
		b.ReportAllocs()
		for b.Loop() {
			Evaluate(r, p)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	all, err := Managed()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range all {
			_, _ = Parse(m.Text, Identity)
		}
	}
}

// Hostile patterns and keys: time stays proportional to the product of their lengths, which both are limited.
func BenchmarkHostilePattern(b *testing.B) {
	p, err := compilePattern("arn:aws:s3:::"+strings.Repeat("*a", 200)+"*"+strings.Repeat("a", 500)+"b", resource, Version2012)
	if err != nil {
		b.Fatal(err)
	}
	s := "arn:aws:s3:::" + strings.Repeat("a", 1024)
	for b.Loop() {
		p.matchText(s)
	}
}

func TestNoAllocations(t *testing.T) {
	for _, worst := range []bool{false, true} {
		r, p := load(t, worst)
		if n := testing.AllocsPerRun(100, func() { Evaluate(r, p) }); n != 0 {
			t.Errorf("worst %v: %v allocations", worst, n)
		}
	}
}
