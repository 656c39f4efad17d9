package frontdoor

import (
	"net"
	"net/http"
	"strings"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
)

// target is what a request is meant for.
type target struct {
	service string
	region  string
	bucket  string // from the host name; "" means the path's first element
	byHost  bool   // the host name says which service
	website bool   // the host name is that of a bucket's website
	fast    bool   // the host name is that of the accelerated endpoint
}

// fromHost reads SERVICE.DOMAIN, SERVICE.REGION.DOMAIN, BUCKET.s3[.REGION].DOMAIN, its forms with dualstack,
// BUCKET.s3-accelerate.DOMAIN, and BUCKET.s3-website.REGION.DOMAIN or BUCKET.s3-website-REGION.DOMAIN. A name of the
// domain that is none of these means nothing, like an address.
func (d *Door) fromHost(host string) target {
	if d.cfg.Domain == "" {
		return target{}
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rest, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), "."+d.cfg.Domain)
	if !ok {
		return target{}
	}
	var t target
	head, last := cutLast(rest)
	if d.knowsRegion(last) {
		t.region = last
		head, last = cutLast(head)
	}
	if region, ok := strings.CutPrefix(last, "s3-website-"); ok && d.knowsRegion(region) {
		t.region, last = region, "s3-website"
	}
	if last == "dualstack" {
		head, last = cutLast(head)
	}
	switch {
	case last == "s3-website" && head != "" && d.services["s3"] != nil:
		t.website, last = true, "s3"
	case last == "s3-accelerate" && head != "":
		t.fast, last = true, "s3"
	}
	if _, ok := d.services[last]; !ok || head != "" && last != "s3" {
		return target{}
	}
	t.service, t.bucket, t.byHost = last, head, true
	return t
}

// cutLast splits off the last label of a name.
func cutLast(name string) (head, last string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// route finds what a request is meant for. Nothing is verified yet.
func (d *Door) route(r *http.Request, action string, sig *sigv4.Signature) target {
	t := d.fromHost(r.Host)
	if sig != nil {
		if !t.byHost {
			t.service = sig.Service
		}
		if t.region == "" {
			t.region = sig.Region
		}
	}
	if t.region == "" {
		t.region = d.Region()
	}
	if t.service == "" {
		t.service = d.unsignedService(r, action)
	}
	return t
}

// unsignedService guesses the service of a request without a signature, so that it is refused in the words
// of the service that its client means.
func (d *Door) unsignedService(r *http.Request, action string) string {
	if action != "" && r.URL.Path == "/" {
		if s := d.byAction[action]; s != nil {
			return s.Name
		}
		return "ec2"
	}
	if r.Method == http.MethodPost && r.URL.Path == "/" && isForm(r.Header) {
		return "ec2"
	}
	return "s3"
}

func isForm(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// unknown stands for a service that is not served: every operation of it is refused.
func unknown(name string, h http.Header) *service {
	p := wire.Query
	if h.Get("X-Amz-Target") != "" {
		p = wire.JSON
	}
	return &service{Service: &wire.Service{Name: name, Protocol: p, Namespace: func(string) string { return "" }}}
}
