package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var ( // small worlds, so that things meet
	worldActions  = []string{"s3:GetObject", "s3:PutObject", "iam:PassRole", "ec2:RunInstances"}
	actionTexts   = []string{"*", "s3:*", "S3:get*", "s3:?etObject", "s3:PutObject", "iam:PassRole", "ec2:Run*s", "ec2:*"}
	worldResource = []string{
		"*", "arn:aws:s3:::b/home/ann/x", "arn:aws:s3:::b/home/é:x", "arn:aws:iam::111111111111:role/r",
		"arn:aws:ec2:us-east-1:111111111111:instance/i-1", "arn:aws:s3:::b/a:b:c:d*",
	}
	resourceTexts = []string{
		"*", "arn:aws:s3:::*", "arn:aws:s3:::b/home/${aws:username}/*", "arn:aws:s3:::b/home/?:x", "arn:*:iam::*:role/*",
		"arn:aws:ec2:us-*:111111111111:instance/*", "arn:aws:ec2:*", "arn:aws:ec2:*1:1*1:i*/i-?", "arn:aws:s3:::b/a*${*}",
		"arn:aws:s3:::b/*/${aws:PrincipalTag/team, 'ann'}/?", "arn:aws:s3:*:*:*:*", "arn:aws:s3:::b/a:b*:d${*}", "arn:aws:ec2:us?east-1:*:*",
	}
	worldKeys    = []string{"aws:PrincipalTag/team", "aws:TagKeys", "aws:SourceIp", "k:n", "aws:username", "aws:PrincipalArn", "aws:CurrentTime", "k:b"}
	worldStrings = []string{"", "ann", "Ann", "blue", "true", "5", "5.0", "-7", "10.0.0.1", "10.0.0.7", "2001:db8::1", "2026-01-02T03:04:05Z", "1767323045", "YQ==", "arn:aws:iam::111111111111:user/ann", "arn:aws:iam::111111111111:role/r"}
	valueTexts   = map[string][]string{
		"String":  {"ann", "ANN", "a*", "?nn", "blue", "${aws:username}", "${aws:PrincipalTag/team, 'blue'}", "${*}", "*", "${aws:TagKeys}"},
		"Arn":     {"arn:aws:iam::111111111111:*", "arn:aws:iam::*:user/${aws:username}", "arn:*:*:*:*:role/?", "*", "arn:aws:iam:*:role/r"},
		"Numeric": {"5", "-7", "5.5", "1e1", "6"},
		"Date":    {"2026-01-02T03:04:05Z", "1767323045", "2027-01-01T00:00:00Z"},
		"Bool":    {"true", "false"}, "Null": {"true", "false"}, "BinaryEquals": {"YQ==", "Yg=="},
		"Ip": {"10.0.0.0/29", "10.0.0.7", "2001:db8::/32", "0.0.0.0/0"},
	}
	operators = []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "NumericEquals", "NumericNotEquals", "NumericLessThan",
		"NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals", "DateEquals", "DateNotEquals", "DateLessThan",
		"DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals", "Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "Null",
	}
	awsNames = []string{
		"*", "111111111111", "222222222222", "arn:aws:iam::111111111111:root", "arn:aws:iam::111111111111:user/ann", "AIDAAAAAAAAAAAAAAAAAA",
		"arn:aws:iam::111111111111:role/r", "arn:aws:sts::111111111111:assumed-role/r/s", "arn:aws:sts::111111111111:federated-user/fred", "AROAAAAAAAAAAAAAAAAAA",
	}
	canonical       = strings.Repeat("a1", 32)
	worldPrincipals = []Principal{
		{},
		{Kind: Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root", ID: "111111111111", CanonicalID: canonical},
		{Kind: User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/ann", ID: "AIDAAAAAAAAAAAAAAAAAA", Name: "ann", CanonicalID: canonical, Tags: []Tag{{"Team", "blue"}}},
		{Kind: RoleSession, Account: "111111111111", ARN: "arn:aws:sts::111111111111:assumed-role/r/s", ID: "AROAAAAAAAAAAAAAAAAAA:s", Issuer: "arn:aws:iam::111111111111:role/r", IssuerID: "AROAAAAAAAAAAAAAAAAAA", CanonicalID: canonical},
		{Kind: FederatedUser, Account: "111111111111", ARN: "arn:aws:sts::111111111111:federated-user/fred", ID: "111111111111:fred", Issuer: "arn:aws:iam::111111111111:user/ann", IssuerID: "AIDAAAAAAAAAAAAAAAAAA"},
		{Kind: Service, ARN: "vmie.amazonaws.com"},
		{Kind: External, ARN: "accounts.google.com"},
	}
)

func some(t *rapid.T, label string, from []string) []string {
	return rapid.SliceOfN(rapid.SampledFrom(from), 1, 2).Draw(t, label)
}

func drawCondition(t *rapid.T) Condition {
	op := rapid.SampledFrom(operators).Draw(t, "operator")
	c := Condition{Key: rapid.SampledFrom(worldKeys).Draw(t, "key")}
	for prefix, texts := range valueTexts {
		if strings.HasPrefix(strings.TrimPrefix(op, "Not"), prefix) {
			c.Values = some(t, "values", texts)
		}
	}
	if op != "Null" {
		op = rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "set") + op
		op += rapid.SampledFrom([]string{"", "", "IfExists"}).Draw(t, "exists")
	}
	c.Operator = op
	return c
}

func drawPrincipals(t *rapid.T, kind Kind) *Principals {
	p := &Principals{Everyone: rapid.IntRange(0, 9).Draw(t, "everyone") == 0}
	if !p.Everyone {
		p.AWS = rapid.SliceOfN(rapid.SampledFrom(awsNames), 1, 4).Draw(t, "aws")
		p.Service = []string{rapid.SampledFrom([]string{"vmie.amazonaws.com", "ec2.amazonaws.com"}).Draw(t, "service")}
		p.Federated = []string{rapid.SampledFrom([]string{"accounts.google.com", "www.amazon.com"}).Draw(t, "federated")}
		if kind == Resource && rapid.IntRange(0, 4).Draw(t, "canonical") == 0 {
			p.CanonicalUser = []string{canonical}
		}
	}
	return p
}

// drawPolicy makes a valid policy by way of its text.
func drawPolicy(t *rapid.T, kind Kind) *Policy {
	d := &Document{Version: rapid.SampledFrom([]string{Version2012, Version2012, Version2008}).Draw(t, "version")}
	for range rapid.IntRange(1, 3).Draw(t, "statements") {
		s := Statement{Effect: rapid.SampledFrom([]Effect{Allow, Allow, Allow, Deny}).Draw(t, "effect")}
		not := func(label string) bool { return rapid.IntRange(0, 5).Draw(t, label) == 0 }
		actions := some(t, "actions", actionTexts)
		if kind == Trust {
			actions = some(t, "actions", []string{"sts:AssumeRole", "sts:Assume*", "sts:TagSession"})
		}
		if s.Action = actions; kind != Trust && not("notAction") {
			s.Action, s.NotAction = nil, actions
		}
		if kind != Trust {
			if s.Resource = some(t, "resources", resourceTexts); not("notResource") {
				s.Resource, s.NotResource = nil, s.Resource
			}
		}
		if kind == Trust || kind == Resource {
			s.Principal = drawPrincipals(t, kind)
			if kind == Resource && s.Effect == Deny && rapid.Bool().Draw(t, "notPrincipal") {
				s.Principal, s.NotPrincipal = nil, s.Principal
			}
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "conditions") {
			c := drawCondition(t)
			if len(s.Condition) == 0 || s.Condition[0].Operator != c.Operator { // an operator appears once
				s.Condition = append(s.Condition, c)
			}
		}
		d.Statements = append(d.Statements, s)
	}
	p, err := Parse(d.JSON(), kind)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.JSON())
	}
	if diff := cmp.Diff(d, p.Document()); diff != "" {
		t.Fatalf("printed and parsed: %s", diff)
	}
	return p
}

func drawPolicies(t *rapid.T, kind Kind, most int) []*Policy {
	var all []*Policy
	for range rapid.IntRange(0, most).Draw(t, "policies") {
		all = append(all, drawPolicy(t, kind))
	}
	return all
}

// check is rapid.Check, twenty times over: evaluations are quick.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	for range 20 {
		rapid.Check(t, property)
	}
}

func TestAgainstModel(t *testing.T) {
	var allowed, explicit, implicit int
	check(t, func(t *rapid.T) {
		r := &Request{
			Principal: rapid.SampledFrom(worldPrincipals).Draw(t, "principal"),
			Action:    MakeAction(rapid.SampledFrom(worldActions).Draw(t, "action")),
			Resource:  rapid.SampledFrom(worldResource).Draw(t, "resource"),
			Owner:     rapid.SampledFrom([]string{"", "111111111111", "222222222222"}).Draw(t, "owner"),
		}
		ctx := mapContext{}
		for _, k := range []string{"aws:tagkeys", "aws:sourceip", "k:n", "aws:currenttime", "k:b"} {
			if rapid.IntRange(0, 3).Draw(t, k) > 0 {
				ctx[k] = rapid.SliceOfN(rapid.SampledFrom(worldStrings), 0, 3).Draw(t, k)
			}
		}
		r.Context = ctx
		p := &Policies{Identity: drawPolicies(t, Identity, 2), Session: drawPolicies(t, Session, 1)}
		if rapid.IntRange(0, 3).Draw(t, "boundary") == 0 {
			p.Boundary = drawPolicy(t, Boundary)
		}
		switch rapid.IntRange(0, 4).Draw(t, "resource") {
		case 0, 1:
			p.Resource = drawPolicy(t, Resource)
		case 2:
			p.Resource, p.Trust = drawPolicy(t, Trust), true
			r.Action, r.Resource = MakeAction("sts:AssumeRole"), "arn:aws:iam::111111111111:role/r"
		}
		d := Evaluate(r, p)
		wantAllowed, wantExplicit := modelEvaluate(r, p)
		if d.Allowed != wantAllowed || d.Reason.Explicit() != wantExplicit {
			t.Fatalf("%v (%s), the model says allowed %v, explicit %v\n%s", d.Allowed, d.Reason, wantAllowed, wantExplicit, describe(r, p))
		}
		if d.Allowed != (d.Reason <= AllowedAsRoot) {
			t.Fatalf("allowed %v with reason %s", d.Allowed, d.Reason)
		}
		if explained, _, _ := Explain(r, p); explained.Allowed != d.Allowed || explained.Reason != d.Reason {
			t.Fatalf("Explain says %s, Evaluate %s\n%s", explained.Reason, d.Reason, describe(r, p))
		}
		switch {
		case d.Allowed:
			allowed++
		case wantExplicit:
			explicit++
		default:
			implicit++
		}
	})
	t.Logf("allowed %d, explicit deny %d, implicit deny %d", allowed, explicit, implicit)
}

func describe(r *Request, p *Policies) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", *r)
	for _, q := range append(append([]*Policy{p.Boundary, p.Resource}, p.Identity...), p.Session...) {
		if q != nil {
			fmt.Fprintln(&b, q.doc.JSON())
		}
	}
	return b.String()
}

// A policy with one more Deny statement never allows more, and one with one more Allow never less but for denies.
func TestMonotone(t *testing.T) {
	check(t, func(t *rapid.T) {
		r := &Request{
			Principal: rapid.SampledFrom(worldPrincipals).Draw(t, "principal"),
			Action:    MakeAction(rapid.SampledFrom(worldActions).Draw(t, "action")),
			Resource:  rapid.SampledFrom(worldResource).Draw(t, "resource"),
		}
		p := &Policies{Identity: drawPolicies(t, Identity, 2)}
		more := drawPolicy(t, Identity)
		before := Evaluate(r, p)
		p.Identity = append(p.Identity, more)
		after := Evaluate(r, p)
		if before.Reason.Explicit() && !after.Reason.Explicit() {
			t.Fatal("a deny got lost")
		}
		if before.Allowed && !after.Allowed && !after.Reason.Explicit() {
			t.Fatal("an allow got lost")
		}
	})
}

func TestGlob(t *testing.T) {
	check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("aé:*?*")), 0, 12, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("aé:b€")), 0, 12, -1).Draw(t, "string")
		st := rapid.SampledFrom([]style{literal, free, resource, arn}).Draw(t, "style")
		p, err := compilePattern(text, st, Version2012)
		if err != nil {
			t.Fatal(err)
		}
		m := model{}
		if got, want := p.matchText(s), m.like(text, s, st, Version2012); got != want {
			t.Fatalf("%q against %q: %v, want %v", text, s, got, want)
		}
	})
}
