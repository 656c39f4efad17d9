package frontdoor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cloudtrailshape "karri.dev/internal/aws/shape/cloudtrail"
	ec2shape "karri.dev/internal/aws/shape/ec2"
	iamshape "karri.dev/internal/aws/shape/iam"
	organizationsshape "karri.dev/internal/aws/shape/organizations"
	quotasshape "karri.dev/internal/aws/shape/servicequotas"
	stsshape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
)

// secrets are all members of requests that must not be in the audit log, by service and name: those that AWS's own
// description calls sensitive, and what proves who somebody is.
var secrets = map[string][]string{
	"iam": {"OldPassword", "NewPassword", "Password", "PrivateKey", "AuthenticationCode1", "AuthenticationCode2", "AddPrivateKey"},
	"sts": {"SAMLAssertion", "WebIdentityToken", "TokenCode", "TradeInToken", "ContextAssertion"},
	"ec2": {"PreSharedKey", "UserData", "PresignedUrl", "UploadPolicySignature"},
}

// cautious are members that are hidden without a need.
var cautious = map[string][]string{"iam": {"RemovePrivateKey"}}

// marks gives a request's form with a mark in every text, and the marks by their names in it.
func marks(prefix string, t reflect.Type, depth int, form url.Values, path []string) map[string][]string {
	out := map[string][]string{}
	join := func(more map[string][]string) {
		for k, v := range more {
			out[k] = v
		}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || depth == 0 {
		return out
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, names := f.Name, append(slices.Clone(path), f.Name)
		if prefix != "" {
			name = prefix + "." + f.Name
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.Uint8 {
			name, ft = name+".1", ft.Elem()
		}
		switch {
		case ft.Kind() == reflect.Struct:
			join(marks(name, ft, depth-1, form, names))
		case ft.Kind() == reflect.String || ft.Kind() == reflect.Slice:
			mark := "mark-" + strings.Join(names, "-") + "-mark"
			form.Set(name, mark)
			out[mark] = names
		}
	}
	return out
}

// Every operation is called with a mark in each of its members: none of a secret is in its record, all others are.
func TestNoSecretIsRecorded(t *testing.T) {
	c := newCloud(t, func(cfg *frontdoor.Config, _ *frontdoor.Deps) { cfg.RatePerSecond = -1 })
	_, key, err := c.id.CreateUser(t.Context(), identity.NewUser{Account: "karri", Name: "nobody", Key: &identity.Key{}})
	if err != nil {
		t.Fatal(err)
	}
	n, hidden := 0, map[string]bool{}
	for _, s := range []struct {
		*wire.Service
		api reflect.Type
	}{
		{ec2shape.Service(), reflect.TypeFor[ec2shape.API]()},
		{iamshape.Service(), reflect.TypeFor[iamshape.API]()},
		{stsshape.Service(), reflect.TypeFor[stsshape.API]()},
		{cloudtrailshape.Service(), reflect.TypeFor[cloudtrailshape.API]()},
		{organizationsshape.Service(), reflect.TypeFor[organizationsshape.API]()},
		{quotasshape.Service(), reflect.TypeFor[quotasshape.API]()},
	} {
		if s.Name != "iam" && s.Name != "sts" {
			c.Register(s.Service, nil) // nobody may do anything: nothing is called
		}
		for _, op := range s.Operations {
			method, _ := s.api.MethodByName(op.Name)
			form := url.Values{}
			all := marks("", method.Type.In(1), 4, form, nil)
			c.do(requestOf(s.Service, op.Name, form, key))
			e := c.audit.last()
			if e.Name != op.Name {
				t.Errorf("%s:%s is recorded as %q", s.Name, op.Name, e.Name)
			}
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			for mark, names := range all {
				n++
				secret := slices.ContainsFunc(names, func(name string) bool { return slices.Contains(secrets[s.Name], name) })
				is := strings.Contains(string(line), mark)
				switch {
				case secret && is:
					t.Errorf("%s:%s: %s is in the record", s.Name, op.Name, mark)
				case secret:
					hidden[s.Name+":"+names[0]] = true
				case !is && !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(cautious[s.Name], name) }):
					t.Errorf("%s:%s: %s is not in the record", s.Name, op.Name, mark)
				}
			}
		}
	}
	if n < 1500 || len(hidden) < 8 {
		t.Errorf("%d members were looked at, %v were hidden", n, hidden)
	}
}

// requestOf makes a signed request of a service's protocol.
func requestOf(s *wire.Service, operation string, form url.Values, key identity.Key) *http.Request {
	if s.Protocol != wire.JSON {
		form.Set("Action", operation)
		return signedForm("http://127.0.0.1:8773/", s.Name, form.Encode(), key, time.Now())
	}
	object := map[string]any{}
	for name := range form {
		if !strings.Contains(name, ".") {
			object[name] = form.Get(name)
			continue
		}
		list, rest, _ := strings.Cut(name, ".1")
		if rest == "" {
			object[list] = []string{form.Get(name)}
			continue
		}
		elements, _ := object[list].([]map[string]any)
		if elements == nil {
			elements = []map[string]any{{}}
			object[list] = elements
		}
		elements[0][rest[1:]] = form.Get(name)
	}
	body, _ := json.Marshal(object)
	r := httptest.NewRequest("POST", "http://127.0.0.1:8773/", strings.NewReader(string(body)))
	r.Header.Set("X-Amz-Target", s.TargetPrefix+"."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sigv4.Sign(r, sigv4.Credentials{AccessKeyID: key.ID, Secret: key.Secret}, "us-east-1", s.Name, digestOf(string(body)), time.Now())
	return r
}

// What S3's requests have in headers and URLs: signatures, tokens, customers' keys. And signed URLs as values.
func TestNoProofIsRecorded(t *testing.T) {
	c, _ := newS3(t)
	_, key, err := c.id.CreateUser(t.Context(), identity.NewUser{Account: "karri", Name: "nobody", Key: &identity.Key{}})
	if err != nil {
		t.Fatal(err)
	}
	record := func() string {
		line, err := json.Marshal(c.audit.last())
		if err != nil {
			t.Fatal(err)
		}
		return string(line)
	}
	const customer = "Y3VzdG9tZXJzLWtleS1jdXN0b21lcnMta2V5LTEyMzQ="
	query := url.Values{
		"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {key.ID + "/20261125/us-east-1/s3/aws4_request"}, "X-Amz-Date": {time.Now().UTC().Format("20060102T150405Z")},
		"X-Amz-Expires": {"900"}, "X-Amz-SignedHeaders": {"host"}, "X-Amz-Signature": {strings.Repeat("5e", 32)}, "X-Amz-Security-Token": {"mark-session-token"},
		"x-amz-server-side-encryption-customer-key": {customer},
	}
	r := httptest.NewRequest("GET", "http://127.0.0.1:8773/bucket/key?"+query.Encode(), nil)
	r.Header.Set("X-Amz-Server-Side-Encryption-Customer-Key", customer)
	c.do(r)
	for _, secret := range []string{strings.Repeat("5e", 32), "mark-session-token", customer} {
		if strings.Contains(record(), secret) {
			t.Errorf("%s is in %s", secret, record())
		}
	}
	old := url.Values{"AWSAccessKeyId": {key.ID}, "Expires": {fmt.Sprint(time.Now().Add(time.Hour).Unix())}, "Signature": {"bWFyay1zaWduYXR1cmU="}}
	c.do(httptest.NewRequest("GET", "http://127.0.0.1:8773/bucket/key?"+old.Encode(), nil))
	if strings.Contains(record(), "bWFyay1zaWduYXR1cmU") {
		t.Error(record())
	}
	// User data by its older way, which an error message quotes.
	c.Register(ec2shape.Service(), nil)
	c.do(signedForm("http://127.0.0.1:8773/", "ec2", url.Values{"Action": {"ModifyInstanceAttribute"}, "InstanceId": {"i-1"}, "Attribute": {"userData"}, "Value": {"mark-user-data"}, "UserData.Value": {"mark-user-data"}}.Encode(), key, time.Now()))
	if line := record(); strings.Contains(line, "mark-user-data") || !strings.Contains(line, `"InstanceId":"i-1"`) {
		t.Error(line)
	}
	// The header's signature of a call that is refused, and a signed URL as a value.
	signed := signedForm("http://127.0.0.1:8773/", "ec2", url.Values{
		"Action": {"ImportImage"}, "DiskContainer.1.Url": {"https://bucket.s3.amazonaws.com/disk?X-Amz-Signature=mark-url-signature&X-Amz-Credential=x"},
	}.Encode(), key, time.Now())
	_, proof, _ := strings.Cut(signed.Header.Get("Authorization"), "Signature=")
	c.do(signed)
	if line := record(); strings.Contains(line, "mark-url-signature") || strings.Contains(line, proof) || !strings.Contains(line, "https://bucket.s3.amazonaws.com/disk?HIDDEN") {
		t.Error(line)
	}
}
