package frontdoor

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/wire"
)

// A bucket's website is read by anonymous GET and HEAD requests to BUCKET.s3-website.REGION.DOMAIN. Its errors
// are pages, and it redirects; what may be read is what everyone may read in the bucket.

// serveWebsite answers a request to a website.
func (x *exchange) serveWebsite(bucket string) error {
	x.info.Operation = "WebsiteGet"
	x.resource = bucket + x.r.URL.Path
	err := x.website(bucket)
	if err == nil || x.sent {
		return err
	}
	x.failure = x.name(err)
	x.page(x.failure)
	return nil
}

func (x *exchange) website(bucket string) error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return awserr.New("MethodNotAllowed", "The specified method is not allowed against this resource.").
			WithStatus(http.StatusMethodNotAllowed).With("Method", x.r.Method).With("ResourceType", "OBJECT")
	}
	if !x.d.throttle.allow(x.info.SourceIP.String(), x.info.Time) {
		return tooFast(x.service.Service)
	}
	c, err := x.buckets().Website(bucket)
	if err != nil {
		return err
	}
	key := strings.TrimPrefix(x.r.URL.Path, "/")
	if all := c.RedirectAllRequestsTo; all != nil {
		return x.redirect(http.StatusMovedPermanently, all.Protocol, all.HostName, key)
	}
	if r := routing(c, key, 0); r != nil {
		return x.route(r, key)
	}
	name := key
	if name == "" || strings.HasSuffix(name, "/") {
		name += c.IndexDocument.Suffix
	}
	failure := x.object(bucket, name, x.r.Header, 0)
	if failure == nil {
		return nil
	}
	e := x.name(failure)
	if e.Code == "NoSuchKey" && key != "" && !strings.HasSuffix(key, "/") && x.readable(bucket, key+"/"+c.IndexDocument.Suffix) {
		return x.redirect(http.StatusFound, "", "", key+"/")
	}
	if r := routing(c, key, e.Status); r != nil {
		return x.route(r, key)
	}
	if c.ErrorDocument != nil && e.Status >= 400 && e.Status < 500 {
		x.out.Header = nil
		if x.object(bucket, c.ErrorDocument.Key, http.Header{}, e.Status) == nil {
			x.failure = e
			return nil
		}
	}
	return failure
}

// get reads an object as everyone may. The caller closes its body.
func (x *exchange) get(bucket, key string, header http.Header) (*operation, *shape.GetObjectResult, error) {
	op := x.service.operations["GetObject"]
	in, err := op.Decode(&wire.Request{Header: header, Labels: labels(bucket, key), Length: -1})
	if err != nil {
		return nil, nil, err
	}
	ctx := call.With(x.r.Context(), &x.info)
	if err := x.authorize(ctx, op, in); err != nil {
		return nil, nil, err
	}
	out, err := op.Invoke(ctx, x.service.api, in)
	if err != nil {
		return nil, nil, err
	}
	return op, out.(*shape.GetObjectResult), nil
}

func (x *exchange) authorize(ctx context.Context, op *operation, in any) error {
	return x.d.deps.Authorizer.Authorize(ctx, authz.Call{Info: &x.info, Service: x.service.Service, Operation: op.Name, Input: in})
}

// object sends an object; status, if not 0, is the answer's in place of 200.
func (x *exchange) object(bucket, key string, header http.Header, status int) error {
	op, out, err := x.get(bucket, key, conditionsOf(header))
	if err != nil {
		return err
	}
	if to := out.WebsiteRedirectLocation; to != "" && status == 0 {
		out.Body.Close()
		x.out.Header = http.Header{"Location": {to}}
		x.out.Status = http.StatusMovedPermanently
		return x.send()
	}
	if err := op.Encode(&x.out, out); err != nil {
		return err
	}
	if status != 0 {
		x.out.Status = status
	}
	return x.send()
}

// readable says whether everyone may read an object that is there.
func (x *exchange) readable(bucket, key string) bool {
	_, out, err := x.get(bucket, key, http.Header{})
	if err != nil {
		return false
	}
	out.Body.Close()
	return true
}

// conditionsOf keeps the headers that a browser's GET means something by.
func conditionsOf(h http.Header) http.Header {
	kept := http.Header{}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"} {
		if v := h[name]; v != nil {
			kept[name] = v
		}
	}
	return kept
}

// routing finds the first routing rule for a key; status is that of an error, 0 while there is none.
func routing(c *shape.WebsiteConfiguration, key string, status int) *shape.RoutingRule {
	for i := range c.RoutingRules {
		r := &c.RoutingRules[i]
		if r.Condition == nil {
			if status == 0 {
				return r
			}
			continue
		}
		code := r.Condition.HttpErrorCodeReturnedEquals
		if strings.HasPrefix(key, r.Condition.KeyPrefixEquals) && (code == "" && status == 0 || status != 0 && code == strconv.Itoa(status)) {
			return r
		}
	}
	return nil
}

// route carries a routing rule out.
func (x *exchange) route(r *shape.RoutingRule, key string) error {
	to := r.Redirect
	switch {
	case to.ReplaceKeyWith != nil:
		key = *to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != nil:
		prefix := ""
		if r.Condition != nil {
			prefix = r.Condition.KeyPrefixEquals
		}
		key = *to.ReplaceKeyPrefixWith + strings.TrimPrefix(key, prefix)
	}
	status := http.StatusMovedPermanently
	if n, err := strconv.Atoi(to.HttpRedirectCode); err == nil {
		status = n
	}
	return x.redirect(status, to.Protocol, to.HostName, key)
}

// redirect sends the browser on. Without a host it stays on this one.
func (x *exchange) redirect(status int, protocol, host, key string) error {
	if protocol == "" {
		if protocol = "http"; x.info.Secure {
			protocol = "https"
		}
	}
	if host == "" {
		host = x.r.Host
	}
	u := url.URL{Scheme: protocol, Host: host, Path: "/" + key, RawQuery: x.r.URL.RawQuery}
	x.out.Header, x.out.Status = http.Header{"Location": {u.String()}}, status
	x.out.Body = x.out.Body[:0]
	return x.send()
}

// page answers an error as a page.
func (x *exchange) page(e *awserr.Error) {
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	x.out.Status, x.out.Length, x.out.Stream = status, -1, nil
	x.out.Header = http.Header{"Content-Type": {"text/html; charset=utf-8"}, "x-amz-error-code": {e.Code}, "x-amz-error-message": {oneLine(e.Message)}}
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	b := append(x.out.Body[:0], "<html>\n<head><title>"+title+"</title></head>\n<body>\n<h1>"+title+"</h1>\n<ul>\n"...)
	item := func(name, v string) { b = append(b, "<li>"+name+": "+html.EscapeString(v)+"</li>\n"...) }
	item("Code", e.Code)
	item("Message", e.Message)
	for _, f := range e.Fields {
		item(f.Name, f.Value)
	}
	item("RequestId", x.out.RequestID)
	item("HostId", x.out.HostID)
	x.out.Body = append(b, "</ul>\n<hr/>\n</body>\n</html>\n"...)
	if status == http.StatusNotModified {
		x.out.Body = x.out.Body[:0]
	}
	if err := x.send(); err != nil {
		x.d.deps.Log.Debug("page was not sent", "request", x.info.RequestID, "err", err)
	}
}

// oneLine makes a header's value of a text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}
