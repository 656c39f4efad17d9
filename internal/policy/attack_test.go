package policy

import (
	"strings"
	"testing"
)

// TestHostileTexts: nothing of this parses, or does harm on the way.
func TestHostileTexts(t *testing.T) {
	for name, text := range map[string]string{
		"deep list":        `{"Statement":` + strings.Repeat("[", 60000),
		"deep principal":   `{"Statement":{"Effect":"Allow","Principal":{"AWS":` + strings.Repeat("[", 60000),
		"deep condition":   `{"Statement":{"Condition":{"Bool":{"a:b":` + strings.Repeat(`{"a":`, 20000),
		"not UTF-8":        "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::\xff\"}}",
		"many keys":        `{"Statement":{"Condition":{` + strings.Repeat(`"Bool":{},`, 2),
		"byte order mark":  "\ufeff" + `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"comment":          `{"Statement":{"Effect":"Allow",/* */"Action":"*","Resource":"*"}}`,
		"trailing comma":   `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*",}}`,
		"escaped twin key": `{"Statement":{"Effect":"Allow","Effec\u0074":"Allow","Action":"*","Resource":"*"}}`,
		"twin documents":   `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	} {
		for _, kind := range kinds {
			if _, err := Parse(text, kind); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
}

// Values that come from a request are text: they bring neither wildcards nor segments of an ARN into a pattern.
func TestValuesAreNotPatterns(t *testing.T) {
	p := mustParse(t, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::home/${aws:PrincipalTag/dir}/*"},
		{"Effect":"Allow","Action":"iam:GetUser","Resource":"arn:aws:iam::${aws:PrincipalTag/dir}:user/x"},
		{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::*/${aws:PrincipalTag/dir}/secret"},
		{"Effect":"Allow","Action":"s3:PutObject","NotResource":"arn:aws:s3:::${aws:PrincipalTag/dir}/*"}]}`, Identity)
	for _, tag := range []string{"*", "?ob", "${aws:username}", "\xff", "b\xfeb", "ann/../bob"} {
		r := &Request{Principal: Principal{Kind: User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/ann", Name: "ann", Tags: []Tag{{"dir", tag}}}}
		r.Action, r.Resource = MakeAction("s3:GetObject"), "arn:aws:s3:::home/bob/secret"
		if Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed {
			t.Errorf("the tag %q opened another home", tag)
		}
		r.Action, r.Resource = MakeAction("iam:GetUser"), "arn:aws:iam::111111111111:user/x"
		if Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed {
			t.Errorf("the tag %q matched an account", tag)
		}
	}
	// Without the tag "all but my directory" is nothing, rather than all.
	r := &Request{Principal: worldPrincipals[2], Action: MakeAction("s3:PutObject"), Resource: "arn:aws:s3:::b/k"}
	if Evaluate(r, &Policies{Identity: []*Policy{p}}).Allowed {
		t.Error("an exception that has no value excepts nothing")
	}
}

// A principal without some name is not matched by a policy's lack of it, and ids are not mixed up.
func TestPrincipalsAreExact(t *testing.T) {
	p := mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111111111111:root","arn:aws:iam::111111111111:user/ann"]},"Action":"s3:*","Resource":"*"}}`, Resource)
	for _, who := range []Principal{
		{},
		{Kind: User},
		{Kind: User, Account: "11111111111", ARN: "arn:aws:iam::11111111111:user/ann"},
		{Kind: User, Account: "1", ARN: "arn:aws:iam::1:user/ann"},
		{Kind: User, Account: "222222222222", ARN: "arn:aws:iam::222222222222:user/ann"},
		{Kind: Service, ARN: "arn:aws:iam::111111111111:user/ann"},
		{Kind: External, ARN: "arn:aws:iam::111111111111:user/ann"},
	} {
		r := &Request{Principal: who, Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::b/k", Owner: "111111111111"}
		if d := Evaluate(r, &Policies{Identity: []*Policy{mustParse(t, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, Identity)}, Resource: p}); d.Allowed {
			t.Errorf("%+v: %s", who, d.Reason)
		}
	}
}
