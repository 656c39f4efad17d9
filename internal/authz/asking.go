package authz

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Asking is one call that asks for leave.
type Asking struct {
	Info   *call.Info
	Reader store.Reader
	Input  any // pointer to the operation's request struct, whole
	Given  any // the same as the client sent it

	engine *Engine
	op     *operation
	in     reflect.Value
	who    *who
	passes *policy.Policy // of the VPC endpoint that the call came by; nil: everything passes there
	err    error          // of the first refusal

	request policy.Request
	keys    Keys // of what Also or a handler asks for; nil: none
	arn     []byte

	// The resource under decision.
	kind   *Kind
	typ    string // name of the kind
	name   string
	found  Resource
	looked bool
	tagged bool   // the call's tags are for this resource
	made   string // ec2:CreateAction
	new    bool   // the call makes it
}

// Keys gives condition keys; see policy.Context.
type Keys func(key policy.Key) (policy.Value, bool)

// Ask asks for leave for an action of any service ("iam:PassRole") on a resource of the caller's account. The
// first refusal is the call's answer.
func (a *Asking) Ask(action policy.Action, arn string, keys Keys) {
	if a.err != nil {
		return
	}
	a.about(nil, "", "")
	a.looked = true
	a.keys = keys
	a.decide(action, arn, "")
	a.keys = nil
}

// On asks for leave for an action on a resource of a kind of the operation's service.
func (a *Asking) On(action policy.Action, kind, name string, keys Keys) {
	if a.err != nil {
		return
	}
	a.about(a.engine.kinds[a.Info.Service+":"+kind], kind, name)
	a.keys = keys
	a.decideNamed(action)
	a.keys = nil
}

// Makes asks for the making of a resource of a kind of the operation's service, and for its tagging, as "kind:+" of On does.
func (a *Asking) Makes(kind string, keys Keys) {
	if a.err != nil {
		return
	}
	a.keys = keys
	a.makes(nil, a.engine.kinds[a.Info.Service+":"+kind], kind, "")
	a.keys = nil
}

// Kind is the kind of the resource under decision.
func (a *Asking) Kind() string { return a.typ }

// New says that the resource under decision is not there yet: the call makes it.
func (a *Asking) New() bool { return a.new }

// Refuse ends the call with this answer.
func (a *Asking) Refuse(err error) {
	if a.err == nil {
		a.err = err
	}
}

// Refused says that the answer is no already.
func (a *Asking) Refused() bool { return a.err != nil }

func (a *Asking) about(k *Kind, typ, name string) {
	a.kind, a.typ, a.name, a.found, a.looked, a.tagged, a.made, a.new = k, typ, name, nil, false, false, "", false
}

// run asks for everything that the entry says.
func (a *Asking) run() error {
	if len(a.op.terms) == 0 {
		a.kind, a.looked, a.tagged = nil, true, true
		a.decide(a.op.action, "*", "")
	}
	for i := range a.op.terms {
		a.term(&a.op.terms[i])
	}
	if a.op.Also != nil && a.err == nil {
		a.op.Also(a)
	}
	return a.err
}

func (a *Asking) term(t *term) {
	if a.err != nil {
		return
	}
	if t.makes {
		a.make(t)
		return
	}
	named := false
	for _, m := range t.members {
		m.each(a.in, func(v reflect.Value) {
			named = true
			if v.Kind() == reflect.String && a.err == nil {
				a.one(t, v.String())
			}
		})
	}
	if named || t.optional {
		return
	}
	name := ""
	if t.kind.Absent != nil {
		name = t.kind.Absent(a.Reader, a.Info)
	}
	a.about(t.kind, t.name, name)
	a.tagged = true
	a.decideNamed(a.op.action)
}

func (a *Asking) one(t *term, name string) {
	if t.kind.Name != nil {
		name = t.kind.Name(a.Reader, a.Info, name)
	}
	a.about(t.kind, t.name, name)
	a.tagged = true
	a.decideNamed(a.op.action)
}

// make asks for the making of a resource, and for its tagging.
func (a *Asking) make(t *term) {
	var members []string
	for _, m := range t.members {
		value := ""
		m.each(a.in, func(v reflect.Value) { value = v.String() })
		members = append(members, value)
	}
	name := ""
	if t.kind.New != nil {
		name = t.kind.New(a.Info, members)
	}
	a.makes(t, t.kind, t.name, name)
}

func (a *Asking) makes(t *term, kind *Kind, typ, name string) {
	a.about(kind, typ, name)
	a.looked, a.tagged, a.new = true, true, true
	if t != nil && t.optional && !a.hasTags() {
		return
	}
	a.decideNamed(a.op.action)
	if a.err == nil && a.op.specs != nil && a.hasTags() {
		a.made = a.Info.Operation
		a.decideNamed(createTags)
	}
}

func (a *Asking) decideNamed(action policy.Action) {
	owner := ""
	if a.kind.Owner != nil {
		owner = a.kind.Owner(a.Reader, a.Info, a.name)
	}
	a.arn = a.kind.ARN(a.arn[:0], a.Info, a.name)
	a.decide(action, string(a.arn), owner)
}

func (a *Asking) decide(action policy.Action, arn, owner string) {
	a.request.Action, a.request.Resource, a.request.Owner = action, arn, owner
	a.request.Principal = a.who.Principal
	if d := a.evaluate(); !d.Allowed {
		a.err = a.engine.refuse(a, d)
	}
}

// Value implements policy.Context.
func (a *Asking) Value(k policy.Key) (policy.Value, bool) {
	if a.keys != nil {
		if v, ok := a.keys(k); ok {
			return v, true
		}
	}
	switch k.Name {
	case "aws:requesttag":
		return a.requestTag(k.Arg)
	case "aws:tagkeys":
		return a.requestTagKeys()
	case "ec2:createaction":
		return policy.String(a.made), a.made != ""
	}
	if v, ok := requestValue(a.Info, k); ok {
		return v, true
	}
	if a.op != nil && a.op.More != nil {
		if v, ok := a.op.More(a, k); ok {
			return v, true
		}
	}
	if a.op != nil {
		for i := range a.op.keys {
			if a.op.keys[i].name == k.Name {
				return valueOf(a.op.keys[i].member, a.in)
			}
		}
	}
	if !a.looked {
		a.looked = true
		if a.kind.Find != nil && a.name != "" {
			a.found = a.kind.Find(a.Reader, a.Info, a.name)
		}
	}
	if a.found == nil {
		return policy.Value{}, false
	}
	return a.found.Value(k)
}

// requestValue gives the keys that every request has.
func requestValue(info *call.Info, k policy.Key) (policy.Value, bool) {
	s := info.Session
	switch k.Name {
	// An address within a VPC is whatever its owner chose: it is not one that aws:SourceIp is asked about.
	case "aws:sourceip":
		return policy.Addr(info.SourceIP), info.SourceIP.IsValid() && info.SourceVPC == ""
	case "aws:vpcsourceip":
		return policy.Addr(info.SourceIP), info.SourceIP.IsValid() && info.SourceVPC != ""
	case "aws:sourcevpc":
		return policy.String(info.SourceVPC), info.SourceVPC != ""
	case "aws:sourcevpce":
		return policy.String(info.SourceEndpoint), info.SourceEndpoint != ""
	case "aws:securetransport":
		return policy.Bool(info.Secure), true
	case "aws:currenttime":
		return policy.Time(info.Time), true
	case "aws:epochtime":
		return policy.Int(info.Time.Unix()), true
	case "aws:requestedregion", "ec2:region":
		return policy.String(info.Region), info.Region != ""
	case "aws:useragent":
		return policy.String(info.UserAgent), info.UserAgent != ""
	case "aws:viaawsservice":
		return policy.Bool(false), true
	}
	if strings.HasPrefix(k.Name, "s3:") {
		return signedValue(info, k.Name)
	}
	if s == nil {
		return policy.Value{}, false
	}
	switch k.Name {
	case "aws:multifactorauthpresent": // long-lived keys have none of it, not even false
		return policy.Bool(s.MFA), true
	case "aws:multifactorauthage":
		return policy.Int(int64(info.Time.Sub(s.MFATime) / time.Second)), s.MFA
	case "aws:tokenissuetime":
		return policy.Time(s.IssuedAt), true
	case "aws:sourceidentity":
		return policy.String(s.SourceIdentity), s.SourceIdentity != ""
	case "aws:federatedprovider":
		return policy.String(s.Provider), s.Provider != ""
	case "ec2:sourceinstancearn":
		if s.InstanceID == "" {
			return policy.Value{}, false
		}
		return policy.String("arn:aws:ec2:" + info.Region + ":" + info.AccountID + ":instance/" + s.InstanceID), true
	}
	if len(s.Claims) == 0 {
		return policy.Value{}, false
	}
	v, ok := s.Claims[k.Text()]
	return policy.String(v), ok
}

// signedValue gives S3's keys on how a request was signed.
func signedValue(info *call.Info, key string) (policy.Value, bool) {
	s := &info.Signed
	switch key {
	case "s3:authtype":
		return policy.String(s.Type), s.Type != ""
	case "s3:signatureversion":
		return policy.String(s.Version), s.Version != ""
	case "s3:signatureage": // milliseconds
		return policy.Int(info.Time.Sub(s.At).Milliseconds()), !s.At.IsZero()
	case "s3:x-amz-content-sha256":
		return policy.String(s.Payload), s.Payload != ""
	case "s3:tlsversion":
		return policy.String(s.TLS), s.TLS != ""
	}
	return policy.Value{}, false
}

// valueOf gives a member of the request as the value of a key.
func valueOf(m member, in reflect.Value) (policy.Value, bool) {
	var first reflect.Value
	var list []string
	n := 0
	m.each(in, func(v reflect.Value) {
		if n++; n == 1 {
			first = v
			return
		}
		if n == 2 {
			list = append(list, fmt.Sprint(first))
		}
		list = append(list, fmt.Sprint(v))
	})
	switch {
	case n == 0:
		return policy.Value{}, false
	case n > 1:
		return policy.Strings(list), true
	}
	switch first.Kind() {
	case reflect.Bool:
		return policy.Bool(first.Bool()), true
	case reflect.Int, reflect.Int32, reflect.Int64:
		return policy.Int(first.Int()), true
	case reflect.String:
		return policy.String(first.String()), true
	}
	return policy.Value{}, false
}

// eachTag calls yield with the call's tags for the resource under decision until it says no.
func (a *Asking) eachTag(yield func(key, value string) bool) {
	if !a.tagged || a.op == nil {
		return
	}
	lists := func(v reflect.Value) bool {
		for i := range v.Len() {
			if t := v.Index(i); !yield(t.Field(0).String(), t.Field(1).String()) {
				return false
			}
		}
		return true
	}
	if a.op.tags != nil {
		lists(a.in.FieldByIndex(a.op.tags))
		return
	}
	if a.op.specs == nil {
		return
	}
	specs := a.in.FieldByIndex(a.op.specs)
	for i := range specs.Len() {
		// The first field of a TagSpecification is its ResourceType, the second its Tags.
		if s := specs.Index(i); s.Field(0).String() == a.typ || s.Field(0).Len() == 0 {
			if !lists(s.Field(1)) {
				return
			}
		}
	}
}

func (a *Asking) hasTags() bool {
	has := false
	a.eachTag(func(string, string) bool { has = true; return false })
	return has
}

func (a *Asking) requestTag(key string) (v policy.Value, ok bool) {
	a.eachTag(func(k, value string) bool {
		if strings.EqualFold(k, key) {
			v, ok = policy.String(value), true
		}
		return !ok
	})
	return v, ok
}

func (a *Asking) requestTagKeys() (policy.Value, bool) {
	var keys []string
	a.eachTag(func(k, _ string) bool { keys = append(keys, k); return true })
	if a.op != nil && a.op.tagKeys != nil && a.tagged {
		list := a.in.FieldByIndex(a.op.tagKeys)
		for i := range list.Len() {
			keys = append(keys, list.Index(i).String())
		}
	}
	return policy.Strings(keys), keys != nil
}

// Tag looks a tag up without regard to case: the value of aws:ResourceTag/…, with each service's own spelling of it.
func Tag(tags resource.Tags, key string) (policy.Value, bool) {
	if v, ok := tags[key]; ok {
		return policy.String(v), true
	}
	for k, v := range tags {
		if strings.EqualFold(k, key) {
			return policy.String(v), true
		}
	}
	return policy.Value{}, false
}
