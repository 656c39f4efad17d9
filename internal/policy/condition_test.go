package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// typedContext answers with ready values.
type typedContext map[string]Value

func (m typedContext) Value(k Key) (Value, bool) {
	v, ok := m[strings.TrimSuffix(k.Name+"/"+strings.ToLower(k.Arg), "/")]
	return v, ok
}

// holds evaluates one condition, in the words of the language, for a user with that context.
func holds(t *testing.T, condition string, ctx Context) bool {
	t.Helper()
	p, err := Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+condition+`}}}`, Identity)
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	r := &Request{Principal: Principal{Kind: User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/ann", Name: "ann", ID: "AIDAX"}, Action: MakeAction("a:B"), Resource: "*", Context: ctx}
	return Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed
}

func TestOperators(t *testing.T) {
	moment := time.Date(2026, 11, 21, 13, 0, 0, 5e6, time.UTC)
	one := func(v Value) typedContext { return typedContext{"k:x": v} }
	none := typedContext{}
	for _, c := range []struct {
		condition string
		ctx       typedContext
		want      bool
	}{
		{`"StringEquals":{"k:x":"a*"}`, one(String("a*")), true},
		{`"StringEquals":{"k:x":"a*"}`, one(String("ab")), false},
		{`"StringEquals":{"k:x":"a"}`, one(String("A")), false},
		{`"StringEquals":{"k:x":["a","b"]}`, one(String("b")), true},
		{`"StringEquals":{"K:X":"b"}`, one(String("b")), true},
		{`"StringEquals":{"k:x":""}`, one(String("")), true},
		{`"StringEquals":{"k:x":"5"}`, one(Int(5)), true},
		{`"StringEquals":{"k:x":"true"}`, one(Bool(true)), true},
		{`"StringEquals":{"k:x":"10.0.0.1"}`, one(Addr(netip.MustParseAddr("10.0.0.1"))), true},
		{`"StringEquals":{"k:x":"2026-11-21T13:00:00Z"}`, one(Time(moment)), true},
		{`"StringNotEquals":{"k:x":["a","b"]}`, one(String("b")), false},
		{`"StringNotEquals":{"k:x":["a","b"]}`, one(String("c")), true},
		{`"StringNotEquals":{"k:x":["a","b"]}`, none, true},
		{`"StringEqualsIgnoreCase":{"k:x":"Straße"}`, one(String("STRAßE")), true},
		{`"StringEqualsIgnoreCase":{"k:x":"${aws:username}"}`, one(String("ANN")), true},
		{`"StringNotEqualsIgnoreCase":{"k:x":"a"}`, one(String("A")), false},
		{`"StringLike":{"k:x":"a*c?"}`, one(String("abbc€")), true},
		{`"StringLike":{"k:x":"a*c?"}`, one(String("abbc")), false},
		{`"StringLike":{"k:x":"a${*}c"}`, one(String("abc")), false},
		{`"StringLike":{"k:x":"a${*}c${?}${$}"}`, one(String("a*c?$")), true},
		{`"StringNotLike":{"k:x":"a*"}`, one(String("b")), true},
		{`"StringNotLike":{"k:x":"a*"}`, one(String("a")), false},

		{`"NumericEquals":{"k:x":"5"}`, one(Int(5)), true},
		{`"NumericEquals":{"k:x":5}`, one(String("5.0")), true},
		{`"NumericEquals":{"k:x":"9007199254740993"}`, one(Int(9007199254740992)), false},
		{`"NumericNotEquals":{"k:x":"5"}`, one(Int(5)), false},
		{`"NumericNotEquals":{"k:x":"5"}`, one(String("five")), true},
		{`"NumericLessThan":{"k:x":"5"}`, one(Int(4)), true},
		{`"NumericLessThan":{"k:x":"5"}`, one(Int(5)), false},
		{`"NumericLessThan":{"k:x":"5"}`, one(String("four")), false},
		{`"NumericLessThan":{"k:x":"5"}`, none, false},
		{`"NumericLessThanEquals":{"k:x":"5"}`, one(Int(5)), true},
		{`"NumericGreaterThan":{"k:x":"-1.5"}`, one(Int(-1)), true},
		{`"NumericGreaterThanEquals":{"k:x":["9","5"]}`, one(Int(6)), true},

		{`"DateGreaterThan":{"k:x":"2026-11-21T13:00:00Z"}`, one(Time(moment)), true},
		{`"DateLessThan":{"k:x":"2026-11-21T14:00:00+01:00"}`, one(Time(moment)), false},
		{`"DateLessThan":{"k:x":"2026-11-22"}`, one(Time(moment)), true},
		{`"DateLessThanEquals":{"k:x":"1795266000"}`, one(Int(1795266000)), true},
		{`"DateEquals":{"k:x":"2026-11-21T13:00:00.005Z"}`, one(Time(moment)), true},
		{`"DateNotEquals":{"k:x":"2026"}`, one(String("2026-01-01T00:00:00Z")), false},
		{`"DateGreaterThanEquals":{"k:x":"2026-12"}`, one(Time(moment)), false},
		{`"DateGreaterThanEquals":{"k:x":"2026-11-21T13:00Z"}`, one(Time(moment)), true},
		{`"DateEquals":{"k:x":"2026"}`, one(String("yesterday")), false},

		{`"Bool":{"k:x":"true"}`, one(Bool(true)), true},
		{`"Bool":{"k:x":true}`, one(String("True")), true},
		{`"Bool":{"k:x":"false"}`, one(Bool(true)), false},
		{`"Bool":{"k:x":"false"}`, none, false},
		{`"BoolIfExists":{"k:x":"false"}`, none, true},

		{`"BinaryEquals":{"k:x":"QmluYXJ5"}`, one(String("QmluYXJ5")), true},
		{`"BinaryEquals":{"k:x":"QmluYXJ5"}`, one(String("Binary")), false},

		{`"IpAddress":{"k:x":"203.0.113.77/24"}`, one(Addr(netip.MustParseAddr("203.0.113.5"))), true},
		{`"IpAddress":{"k:x":"203.0.113.0/24"}`, one(Addr(netip.MustParseAddr("::ffff:203.0.113.5"))), true},
		{`"IpAddress":{"k:x":"::ffff:203.0.113.0/120"}`, one(Addr(netip.MustParseAddr("203.0.113.5"))), true},
		{`"IpAddress":{"k:x":"2001:db8::/32"}`, one(String("2001:db8:1::1")), true},
		{`"IpAddress":{"k:x":"0.0.0.0/0"}`, one(Addr(netip.MustParseAddr("2001:db8::1"))), false},
		{`"IpAddress":{"k:x":"10.0.0.1"}`, one(String("10.0.0.1")), true},
		{`"IpAddress":{"k:x":"0.0.0.0/0"}`, one(String("nonsense")), false},
		{`"NotIpAddress":{"k:x":"10.0.0.0/8"}`, one(String("10.0.0.1")), false},
		{`"NotIpAddress":{"k:x":"10.0.0.0/8"}`, none, true},

		{`"ArnLike":{"k:x":"arn:aws:iam::*:user/*"}`, one(String("arn:aws:iam::1:user/a:b/c")), true},
		{`"ArnEquals":{"k:x":"arn:aws:iam::*:user/*"}`, one(String("arn:aws:iam::1:user/a")), true},
		{`"ArnLike":{"k:x":"arn:aws:*:user/*"}`, one(String("arn:aws:iam::1:user/a")), false},
		{`"ArnLike":{"k:x":"*"}`, one(String("arn:aws:iam::1:user/a")), false},
		{`"ArnLike":{"k:x":"arn:aws:s3:::*"}`, one(String("arn:aws:s3:r:1:b")), false},
		{`"ArnNotLike":{"k:x":"arn:aws:iam::1:user/?"}`, one(String("arn:aws:iam::1:user/a")), false},
		{`"ArnNotEquals":{"k:x":"arn:aws:iam::1:user/?"}`, none, true},

		{`"Null":{"k:x":"true"}`, none, true},
		{`"Null":{"k:x":true}`, one(String("")), false},
		{`"Null":{"k:x":"false"}`, one(String("a")), true},
		{`"Null":{"k:x":"false"}`, none, false},
		{`"Null":{"k:x":"true"}`, one(Strings(nil)), true},

		{`"ForAllValues:StringEquals":{"k:x":["a","b"]}`, one(Strings([]string{"a", "b", "a"})), true},
		{`"ForAllValues:StringEquals":{"k:x":["a","b"]}`, one(Strings([]string{"a", "c"})), false},
		{`"ForAllValues:StringEquals":{"k:x":["a","b"]}`, none, true},
		{`"ForAllValues:StringEquals":{"k:x":["a","b"]}`, one(Strings([]string{""})), true},
		{`"ForAllValues:StringNotEquals":{"k:x":["a","b"]}`, one(Strings([]string{"c", "d"})), true},
		{`"ForAllValues:StringNotEquals":{"k:x":["a","b"]}`, one(Strings([]string{"c", "a"})), false},
		{`"ForAnyValue:StringEquals":{"k:x":["a","b"]}`, one(Strings([]string{"c", "a"})), true},
		{`"ForAnyValue:StringEquals":{"k:x":["a","b"]}`, one(Strings([]string{"c"})), false},
		{`"ForAnyValue:StringEquals":{"k:x":["a","b"]}`, none, false},
		{`"ForAnyValue:StringEqualsIfExists":{"k:x":["a","b"]}`, none, false},
		{`"ForAnyValue:StringNotLike":{"k:x":"a*"}`, one(Strings([]string{"a", "b"})), true},
		{`"ForAnyValue:StringNotLike":{"k:x":"a*"}`, none, false},

		{`"StringEqualsIfExists":{"k:x":"a"}`, none, true},
		{`"StringEqualsIfExists":{"k:x":"a"}`, one(String("b")), false},
		{`"StringEquals":{"k:x":"a"}`, none, false},
		{`"StringEquals":{"k:x":"a","k:y":"b"}`, typedContext{"k:x": String("a"), "k:y": String("b")}, true},
		{`"StringEquals":{"k:x":"a","k:y":"b"}`, typedContext{"k:x": String("a"), "k:y": String("c")}, false},
		{`"StringEquals":{"k:x":"a"},"Bool":{"k:y":"true"}`, typedContext{"k:x": String("a"), "k:y": Bool(false)}, false},
		{`"StringEquals":{"aws:RequestTag/Team":"x"}`, typedContext{"aws:requesttag/team": String("x")}, true},
		{`"StringEquals":{"host/path:Sub":"x"}`, typedContext{"host/path:sub": String("x")}, true},

		{`"StringEquals":{"k:x":"${aws:username}"}`, one(String("ann")), true},
		{`"StringEquals":{"k:x":"${ aws:UserName , 'x'}"}`, one(String("ann")), true},
		{`"StringEquals":{"k:x":"${aws:PrincipalTag/t, 'a}b'}"}`, one(String("a}b")), true},
		{`"StringEquals":{"k:x":"${k:y}"}`, one(String("${k:y}")), false},
		{`"StringEquals":{"k:x":"${k:y}"}`, typedContext{"k:x": String("v"), "k:y": Strings([]string{"v"})}, true},
		{`"StringEquals":{"k:x":"${k:y}"}`, typedContext{"k:x": String("v"), "k:y": Strings([]string{"v", "v"})}, false},
		{`"StringLike":{"k:x":"${k:y}"}`, typedContext{"k:x": String("anything"), "k:y": String("*")}, false},
		{`"StringLike":{"k:x":"${k:y}"}`, typedContext{"k:x": String("anything"), "k:y": String("\xff")}, false},
	} {
		if got := holds(t, c.condition, c.ctx); got != c.want {
			t.Errorf("%s with %v: %v", c.condition, c.ctx, got)
		}
	}
}

// In the older version of the language a variable is just text.
func TestNoVariablesIn2008(t *testing.T) {
	for _, version := range []string{`"Version":"2008-10-17",`, ``} {
		p, err := Parse(fmt.Sprintf(`{%s"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}"}}`, version), Identity)
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Principal: worldPrincipals[2], Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::ann"}
		if Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed {
			t.Error("the variable was expanded")
		}
		r.Resource = "arn:aws:s3:::${aws:username}"
		if !Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed {
			t.Error("the text does not match itself")
		}
	}
}

func TestResourcePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, arn string
		want         bool
	}{
		{"*", "*", true},
		{"*", "arn:aws:s3:::b", true},
		{"arn:aws:s3:::b/*", "*", false},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/x/y:z", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b", false},
		{"arn:aws:s3:::b*", "arn:aws:s3:::b/x", true},
		{"arn:aws:s3:::B", "arn:aws:s3:::b", false},
		{"arn:aws:s3:::b/?", "arn:aws:s3:::b/é", true},
		{"arn:aws:ec2:*", "arn:aws:ec2:us-east-1:1:instance/i", true},
		{"arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:us-east-1:1:instance/i", true},
		{"arn:aws:ec2:*:instance/*", "arn:aws:ec2:us-east-1:1:instance/i", true}, // a segment's last "*" crosses colons
		{"arn:aws:ec2:*-1:*:instance/*", "arn:aws:ec2:us-east-1:1:instance/i", true},
		{"arn:aws:ec2:u*-1:instance/*", "arn:aws:ec2:us-east-1:1-1:instance/i", false}, // one inside does not
		{"arn:aws:ec2:us?1:instance/*", "arn:aws:ec2:us:1:instance/i", false},
		{"arn:*:iam::1:role/*", "arn:aws-cn:iam::1:role/a/b", true},
		{"arn:aws:iam::1:role/a*z", "arn:aws:iam::1:role/a:b:z", true},
	} {
		p, err := compileResource(c.pattern, Version2012)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(&evaluation{Request: &Request{}}, c.arn); got != c.want {
			t.Errorf("%s against %s: %v", c.pattern, c.arn, got)
		}
	}
}

// "?" is a character, wherever a "*" before it ends.
func TestCharacters(t *testing.T) {
	for _, st := range []style{free, resource, arn} {
		for text, want := range map[string]bool{"*?": true, "*??": false, "?": true, "??": false, "?*": true, "*?*": true, "*?*?": false} {
			p, err := compilePattern("a"+text+"b", st, Version2012)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.matchText("a€b"); got != want {
				t.Errorf("%s: %v", text, got)
			}
		}
	}
}

// TestPrincipalKeys goes through the table of principals in the guide's page on variables.
func TestPrincipalKeys(t *testing.T) {
	const absent = "-"
	for _, c := range []struct {
		who                                        Principal
		name, id, arn, account, kind, service, tag string
	}{
		{worldPrincipals[0], absent, "anonymous", absent, absent, "Anonymous", absent, absent},
		{worldPrincipals[1], absent, "111111111111", "arn:aws:iam::111111111111:root", "111111111111", "Account", "false", absent},
		{worldPrincipals[2], "ann", "AIDAAAAAAAAAAAAAAAAAA", "arn:aws:iam::111111111111:user/ann", "111111111111", "User", "false", "blue"},
		{worldPrincipals[3], absent, "AROAAAAAAAAAAAAAAAAAA:s", "arn:aws:iam::111111111111:role/r", "111111111111", "AssumedRole", "false", absent},
		{worldPrincipals[4], absent, "111111111111:fred", "arn:aws:sts::111111111111:federated-user/fred", "111111111111", "FederatedUser", "false", absent},
		{worldPrincipals[5], absent, absent, absent, absent, absent, "true", absent},
	} {
		e := &evaluation{Request: &Request{Principal: c.who}}
		for key, want := range map[string]string{
			"aws:username": c.name, "aws:UserId": c.id, "aws:PrincipalArn": c.arn, "aws:PrincipalAccount": c.account,
			"aws:PrincipalType": c.kind, "aws:PrincipalIsAWSService": c.service, "aws:PrincipalTag/TEAM": c.tag, "aws:ResourceAccount": c.account,
		} {
			got := absent
			if v, ok := e.lookup(MakeKey(key)); ok {
				got = v.text()
			}
			if got != want {
				t.Errorf("%s: %s is %s, want %s", c.who.ARN, key, got, want)
			}
		}
	}
}
