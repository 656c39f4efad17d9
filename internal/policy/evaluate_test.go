package policy

import (
	"testing"
)

func mustParse(t testing.TB, text string, kind Kind) *Policy {
	t.Helper()
	p, err := Parse(text, kind)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// TestRules goes through the rules of evaluation-logic, and the tables of principals within one account.
func TestRules(t *testing.T) {
	identity := func(effect string) *Policy {
		return mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"`+effect+`","Action":"s3:GetObject","Resource":"*"}}`, Identity)
	}
	other := mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`, Identity)
	bucket := func(effect, principal string) *Policy {
		return mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"`+effect+`","Principal":`+principal+`,"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}`, Resource)
	}
	trust := func(principal string) *Policy {
		return mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":`+principal+`,"Action":"sts:AssumeRole"}}`, Trust)
	}
	assume := mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`, Identity)
	except := func(names string) *Policy {
		return mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotPrincipal":{"AWS":[`+names+`]},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}`, Resource)
	}
	allow, deny := identity("Allow"), identity("Deny")
	one := func(p *Policy) []*Policy { return []*Policy{p} }
	anonymous, root, user, role, federated, service, external := worldPrincipals[0], worldPrincipals[1], worldPrincipals[2], worldPrincipals[3], worldPrincipals[4], worldPrincipals[5], worldPrincipals[6]

	const (
		home       = "111111111111"
		abroad     = "222222222222"
		everyone   = `"*"`
		account    = `{"AWS":"111111111111"}`
		accountARN = `{"AWS":"arn:aws:iam::111111111111:root"}`
		theUser    = `{"AWS":"arn:aws:iam::111111111111:user/ann"}`
		theUserID  = `{"AWS":"AIDAAAAAAAAAAAAAAAAAA"}`
		theRole    = `{"AWS":"arn:aws:iam::111111111111:role/r"}`
		theRoleID  = `{"AWS":"AROAAAAAAAAAAAAAAAAAA"}`
		session    = `{"AWS":"arn:aws:sts::111111111111:assumed-role/r/s"}`
		fred       = `{"AWS":"arn:aws:sts::111111111111:federated-user/fred"}`
		vmie       = `{"Service":"vmie.amazonaws.com"}`
	)
	for _, c := range []struct {
		name  string
		who   Principal
		owner string
		p     Policies
		want  Reason
	}{
		{"nothing said", user, home, Policies{}, NoIdentityAllow},
		{"identity allows", user, home, Policies{Identity: one(allow)}, AllowedByIdentity},
		{"no owner means home", user, "", Policies{Identity: one(allow)}, AllowedByIdentity},
		{"another action", user, home, Policies{Identity: one(other)}, NoIdentityAllow},
		{"deny wins", user, home, Policies{Identity: []*Policy{allow, deny}}, DeniedByIdentity},
		{"deny wins over the resource", user, home, Policies{Identity: one(deny), Resource: bucket("Allow", theUser)}, DeniedByIdentity},

		{"root needs nothing", root, home, Policies{}, AllowedAsRoot},
		{"root and a deny of the resource", root, home, Policies{Resource: bucket("Deny", everyone)}, DeniedByResource},
		{"root abroad needs the resource", root, abroad, Policies{}, NoResourceAllow},
		{"root abroad with the resource", root, abroad, Policies{Resource: bucket("Allow", account)}, AllowedAsRoot},

		{"boundary caps", user, home, Policies{Identity: one(allow), Boundary: other}, NoBoundaryAllow},
		{"boundary agrees", user, home, Policies{Identity: one(allow), Boundary: allow}, AllowedByIdentity},
		{"boundary grants nothing", user, home, Policies{Boundary: allow}, NoIdentityAllow},
		{"boundary denies", user, home, Policies{Identity: one(allow), Boundary: deny}, DeniedByBoundary},
		{"session caps", role, home, Policies{Identity: one(allow), Session: one(other)}, NoSessionAllow},
		{"session policies add up", role, home, Policies{Identity: one(allow), Session: []*Policy{other, allow}}, AllowedByIdentity},
		{"session grants nothing", role, home, Policies{Session: one(allow)}, NoIdentityAllow},
		{"session denies", role, home, Policies{Identity: one(allow), Session: one(deny)}, DeniedBySession},
		{"boundary and session", role, home, Policies{Identity: one(allow), Boundary: allow, Session: one(allow)}, AllowedByIdentity},

		{"resource names the user", user, home, Policies{Resource: bucket("Allow", theUser)}, AllowedByResource},
		{"resource names the user's id", user, home, Policies{Resource: bucket("Allow", theUserID)}, AllowedByResource},
		{"… in spite of a boundary", user, home, Policies{Resource: bucket("Allow", theUser), Boundary: other}, AllowedByResource},
		{"resource names everyone", user, home, Policies{Resource: bucket("Allow", everyone), Boundary: other}, AllowedByResource},
		{"resource names the account: delegation", user, home, Policies{Resource: bucket("Allow", accountARN)}, NoIdentityAllow},
		{"resource names the session", role, home, Policies{Resource: bucket("Allow", session), Boundary: other, Session: one(other)}, AllowedByResource},
		{"resource names everyone, session capped", role, home, Policies{Resource: bucket("Allow", everyone), Session: one(other)}, AllowedByResource},
		{"resource names the role", role, home, Policies{Resource: bucket("Allow", theRole)}, AllowedByResource},
		{"resource names the role's id", role, home, Policies{Resource: bucket("Allow", theRoleID)}, AllowedByResource},
		{"… capped by the boundary", role, home, Policies{Resource: bucket("Allow", theRole), Boundary: other}, NoBoundaryAllow},
		{"… capped by the session", role, home, Policies{Resource: bucket("Allow", theRole), Session: one(other)}, NoSessionAllow},
		{"… within both", role, home, Policies{Resource: bucket("Allow", theRole), Boundary: allow, Session: one(allow)}, AllowedByResource},
		{"another role's session", role, home, Policies{Resource: bucket("Allow", `{"AWS":"arn:aws:sts::111111111111:assumed-role/r/other"}`)}, NoIdentityAllow},

		{"federated user without session policies", federated, home, Policies{Identity: one(allow)}, NoSessionAllow},
		{"federated user with", federated, home, Policies{Identity: one(allow), Session: one(allow)}, AllowedByIdentity},
		{"resource names the federated user", federated, home, Policies{Resource: bucket("Allow", fred)}, AllowedByResource},
		{"resource names who federated", federated, home, Policies{Resource: bucket("Allow", theUser)}, NoSessionAllow},

		{"abroad, identity alone", user, abroad, Policies{Identity: one(allow)}, NoResourceAllow},
		{"abroad, resource alone", user, abroad, Policies{Resource: bucket("Allow", theUser)}, NoIdentityAllow},
		{"abroad, both", user, abroad, Policies{Identity: one(allow), Resource: bucket("Allow", theUser)}, AllowedByIdentity},
		{"abroad, account named", user, abroad, Policies{Identity: one(allow), Resource: bucket("Allow", account)}, AllowedByIdentity},
		{"abroad, canonical user named", user, abroad, Policies{Identity: one(allow), Resource: bucket("Allow", `{"CanonicalUser":"`+canonical+`"}`)}, AllowedByIdentity},
		{"abroad, everyone named, identity silent", user, abroad, Policies{Resource: bucket("Allow", everyone)}, NoIdentityAllow},
		{"abroad, session named, session policy silent", role, abroad, Policies{Identity: one(allow), Session: one(other), Resource: bucket("Allow", session)}, NoSessionAllow},
		{"abroad, boundary silent", role, abroad, Policies{Identity: one(allow), Boundary: other, Resource: bucket("Allow", session)}, NoBoundaryAllow},
		{"abroad, resource denies", user, abroad, Policies{Identity: one(allow), Resource: bucket("Deny", account)}, DeniedByResource},

		{"anonymous", anonymous, home, Policies{}, NoResourceAllow},
		{"anonymous, everyone", anonymous, home, Policies{Resource: bucket("Allow", everyone)}, AllowedByResource},
		{"anonymous, AWS everyone", anonymous, home, Policies{Resource: bucket("Allow", `{"AWS":"*"}`)}, AllowedByResource},
		{"anonymous, account", anonymous, home, Policies{Resource: bucket("Allow", account)}, NoResourceAllow},
		{"service", service, home, Policies{Resource: bucket("Allow", vmie)}, AllowedByResource},
		{"another service", service, home, Policies{Resource: bucket("Allow", `{"Service":"ec2.amazonaws.com"}`)}, NoResourceAllow},

		{"NotPrincipal: user and account", user, home, Policies{Identity: one(allow), Resource: except(`"arn:aws:iam::111111111111:user/ann","111111111111"`)}, AllowedByIdentity},
		{"NotPrincipal: user alone", user, home, Policies{Identity: one(allow), Resource: except(`"arn:aws:iam::111111111111:user/ann"`)}, DeniedByResource},
		{"NotPrincipal: account alone", user, home, Policies{Identity: one(allow), Resource: except(`"111111111111"`)}, DeniedByResource},
		{"NotPrincipal and a boundary", user, home, Policies{Identity: one(allow), Boundary: allow, Resource: except(`"arn:aws:iam::111111111111:user/ann","111111111111"`)}, DeniedByResource},
		{"NotPrincipal: role without session", role, home, Policies{Identity: one(allow), Resource: except(`"arn:aws:iam::111111111111:role/r","111111111111"`)}, DeniedByResource},
		{"NotPrincipal: all three", role, home, Policies{Identity: one(allow), Resource: except(`"arn:aws:iam::111111111111:role/r","arn:aws:sts::111111111111:assumed-role/r/s","111111111111"`)}, AllowedByIdentity},
		{"NotPrincipal: root", root, home, Policies{Resource: except(`"111111111111"`)}, AllowedAsRoot},
		{"NotPrincipal: anonymous", anonymous, home, Policies{Resource: except(`"111111111111"`)}, DeniedByResource},

		{"trust: silent", user, home, Policies{Identity: one(assume), Resource: trust(theRole), Trust: true}, NoResourceAllow},
		{"trust: names the user", user, home, Policies{Resource: trust(theUser), Trust: true}, AllowedByResource},
		{"trust: names the account", user, home, Policies{Resource: trust(account), Trust: true}, NoIdentityAllow},
		{"trust: names the account, identity allows", user, home, Policies{Identity: one(assume), Resource: trust(account), Trust: true}, AllowedByIdentity},
		{"trust: abroad, user named", user, abroad, Policies{Resource: trust(theUser), Trust: true}, NoIdentityAllow},
		{"trust: abroad, both", user, abroad, Policies{Identity: one(assume), Resource: trust(theUser), Trust: true}, AllowedByIdentity},
		{"trust: role chain", role, home, Policies{Resource: trust(theRole), Trust: true}, AllowedByResource},
		{"trust: service", service, home, Policies{Resource: trust(vmie), Trust: true}, AllowedByResource},
		{"trust: provider", external, home, Policies{Resource: trust(`{"Federated":"accounts.google.com"}`), Trust: true}, AllowedByResource},
		{"trust: another provider", external, home, Policies{Resource: trust(`{"Federated":"www.amazon.com"}`), Trust: true}, NoResourceAllow},
	} {
		r := &Request{Principal: c.who, Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::b/k", Owner: c.owner}
		if c.p.Trust {
			r.Action, r.Resource = MakeAction("sts:AssumeRole"), "arn:aws:iam::"+c.owner+":role/target"
		}
		d := Evaluate(r, &c.p)
		if d.Reason != c.want || d.Allowed != (c.want <= AllowedAsRoot) {
			t.Errorf("%s: %s (allowed %v), want %s", c.name, d.Reason, d.Allowed, c.want)
		}
		if allowed, _ := modelEvaluate(r, &c.p); allowed != d.Allowed {
			t.Errorf("%s: the model disagrees", c.name)
		}
	}
}

func TestExplain(t *testing.T) {
	p := mustParse(t, `{"Version":"2012-10-17","Statement":[
		{"Sid":"A","Effect":"Allow","Action":"ec2:*","Resource":"*"},
		{"Sid":"B","Effect":"Allow","Action":"ec2:Run*","Resource":"*"},
		{"Sid":"C","Effect":"Deny","Action":"ec2:*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/Team":"x"}}}]}`, Identity)
	r := &Request{Principal: worldPrincipals[2], Action: MakeAction("ec2:RunInstances"), Resource: "*"}
	d, matches, missing := Explain(r, &Policies{Identity: []*Policy{p}})
	if !d.Allowed || d.Statement.Sid != "A" || d.Policy != p {
		t.Errorf("decision %+v", d)
	}
	if len(matches) != 2 || matches[1].Statement.Sid != "B" {
		t.Errorf("matches %+v", matches)
	}
	if len(missing) != 1 || missing[0].Name != "aws:requesttag" || missing[0].Arg != "Team" {
		t.Errorf("missing %+v", missing)
	}
}

func TestMessages(t *testing.T) {
	deny := mustParse(t, `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`, Identity)
	r := &Request{Principal: worldPrincipals[2], Action: MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::b/k"}
	for _, c := range []struct {
		p    Policies
		want string
	}{
		{Policies{}, "User: arn:aws:iam::111111111111:user/ann is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action"},
		{Policies{Identity: []*Policy{deny}}, "User: arn:aws:iam::111111111111:user/ann is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in an identity-based policy"},
		{Policies{Boundary: deny}, "User: arn:aws:iam::111111111111:user/ann is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in a permissions boundary"},
	} {
		if got := Evaluate(r, &c.p).Message(r); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	p := mustParse(t, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Limit","Action":"ec2:RunInstances","Resource":"*","Condition":{"NumericLessThanEquals":{"ec2:quota-vminstancenumber":"10"},"StringEquals":{"aws:username":"ann"}}},
		{"Effect":"Limit","Action":"s3:*","Resource":"*","Condition":{"NumericLessThan":{"s3:quota-buckettotalsize":1024}}}]}`, Identity)
	r := &Request{Principal: worldPrincipals[2], Action: MakeAction("ec2:RunInstances"), Resource: "*"}
	if d := Evaluate(r, &Policies{Identity: []*Policy{p}}); d.Reason != NoIdentityAllow {
		t.Errorf("a limit decided: %s", d.Reason)
	}
	all := p.Limits()
	if len(all) != 2 || all[0].Key != "ec2:quota-vminstancenumber" || all[0].Max != 10 || all[1].Max != 1023 {
		t.Fatalf("%+v", all)
	}
	if !all[0].Applies(r) || all[1].Applies(r) {
		t.Error("limits apply to the wrong actions")
	}
	r.Principal.Name = "bob"
	if all[0].Applies(r) {
		t.Error("a limit ignores its other conditions")
	}
}
