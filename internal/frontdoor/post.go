package frontdoor

import (
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/postpolicy"
)

// An upload from a browser's form: POST of multipart/form-data to a bucket. Its fields say what the headers of a
// PutObject say; a signed policy among them says what they may be.

// maxFields bounds all of a form that stands before its file.
const maxFields = 20 << 10

// maxFormFile is the largest file of a form.
const maxFormFile = 5 << 30

func isUpload(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data"
}

// postForm is a form up to its file.
type postForm struct {
	fields   map[string]string // by name in lower case
	file     io.Reader
	filename string
	kind     string // Content-Type of the file's part
}

func (f *postForm) get(name string) string { return f.fields[name] }

func (x *exchange) servePost(bucket string) error {
	op := x.service.operations["PutObject"]
	if op == nil {
		return authz.Unsigned(x.service.Protocol)
	}
	x.choose(op)
	x.info.Operation, x.resource = "PostObject", bucket
	if !x.d.throttle.allow(x.info.SourceIP.String(), x.info.Time) {
		return tooFast(x.service.Service)
	}
	f, err := x.readPost()
	if err != nil {
		return err
	}
	key, there := f.fields["key"]
	if !there || key == "" {
		return invalidField("key", "", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	key = strings.ReplaceAll(key, "${filename}", f.filename)
	f.fields["key"] = key
	x.resource = bucket + "/" + key
	least, most, err := x.postAllowed(f, bucket)
	if err != nil {
		return err
	}
	if x.ownForm() {
		delete(f.fields, "acl") // by which EC2 could read the object: here it can anyhow
	}
	if err := withinSession(&x.info); err != nil {
		return err
	}
	return x.storePost(op, f, bucket, key, &postBody{r: f.file, least: least, most: most})
}

// readPost reads the form up to its file.
func (x *exchange) readPost() (*postForm, error) {
	_, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	malformed := func() error {
		return awserr.New("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	}
	if err != nil || params["boundary"] == "" {
		return nil, malformed()
	}
	limited := &io.LimitedReader{R: &movingReader{x}, N: maxFields}
	form := multipart.NewReader(limited, params["boundary"])
	f := &postForm{fields: map[string]string{}}
	for {
		part, err := form.NextRawPart()
		switch {
		case limited.N <= 0:
			return nil, awserr.New("MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large.").
				With("MaxPostPreDataLengthBytes", strconv.Itoa(maxFields))
		case errors.Is(err, io.EOF):
			return nil, invalidField("file", "0", "POST requires exactly one file upload per request.")
		case err != nil:
			return nil, malformed()
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			limited.N = 1<<63 - 1 // the file is bounded by what may be stored
			f.file, f.filename, f.kind = part, baseName(part.FileName()), part.Header.Get("Content-Type")
			return f, nil
		}
		if name == "" {
			return nil, malformed()
		}
		if _, again := f.fields[name]; again {
			return nil, invalidField(name, "", "POST requires exactly one value of each field.")
		}
		value, err := io.ReadAll(part)
		if err != nil && limited.N > 0 {
			return nil, malformed()
		}
		f.fields[name] = string(value)
	}
}

// baseName is a file's name without the folders that old browsers send along.
func baseName(name string) string { return name[strings.LastIndexAny(name, `/\`)+1:] }

func invalidField(name, value, message string) error {
	return awserr.New("InvalidArgument", "%s", message).With("ArgumentName", name).With("ArgumentValue", value)
}

// postAllowed finds who sent a form, and judges it by its policy, which bounds the file's size.
func (x *exchange) postAllowed(f *postForm, bucket string) (least, most int64, err error) {
	sig, err := sigv4.ParseForm(f.get)
	if err != nil {
		return 0, 0, x.refusal(nil, err)
	}
	text := f.fields["policy"]
	if sig == nil {
		if text != "" {
			return 0, 0, invalidField("AWSAccessKeyId", "", "Bucket POST must contain a field named 'AWSAccessKeyId'.  If it is specified, please check the order of the fields.")
		}
		return 0, maxFormFile, nil // nobody: what everyone may write
	}
	if text == "" {
		return 0, 0, invalidField("policy", "", "Bucket POST must contain a field named 'policy'.  If it is specified, please check the order of the fields.")
	}
	if err := x.checkScope(sig); err != nil {
		return 0, 0, err
	}
	who, err := x.lookup(sig)
	if err != nil {
		return 0, 0, err
	}
	if sig.Old && !x.oldAllowed(who.Caller.AccountID) {
		return 0, 0, x.refusal(sig, &sigv4.Error{Reason: sigv4.Unsupported, Message: "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."})
	}
	if err := sig.VerifyForm(text, who.Secret); err != nil {
		return 0, 0, x.refusal(sig, err)
	}
	x.signed(sig, "")
	x.info.Signed.Type, x.info.Signed.At = "POST", time.Time{}
	x.info.Caller, x.info.Payer = who.Caller, f.fields["x-amz-request-payer"]
	x.d.deps.Authenticator.Used(&x.info.Caller, sig.Service, x.info.Region, x.info.Time)
	p, err := postpolicy.Parse(text)
	if err == nil {
		err = p.Check(f.fields, bucket, x.info.Time)
	}
	var bad *postpolicy.Error
	switch {
	case errors.As(err, &bad) && bad.Document:
		return 0, 0, awserr.New("InvalidPolicyDocument", "Invalid Policy: %s", bad.Reason)
	case errors.As(err, &bad):
		return 0, 0, awserr.New("AccessDenied", "Invalid according to Policy: %s", bad.Reason).WithStatus(http.StatusForbidden)
	case err != nil:
		return 0, 0, err
	}
	return p.Least, min(p.Most, maxFormFile), nil
}

// storePost writes the file as PutObject would, and answers as the form asks.
func (x *exchange) storePost(op *operation, f *postForm, bucket, key string, body *postBody) error {
	in, err := op.Decode(&wire.Request{Header: postHeaders(f), Labels: labels(bucket, key), Body: body, Length: -1})
	if err != nil {
		return err
	}
	put := in.(*shape.PutObjectRequest)
	unknown := int64(-1)
	put.ContentLength = &unknown
	ctx := call.With(x.r.Context(), &x.info)
	if err := x.authorize(ctx, op, in); err != nil {
		return err
	}
	out, err := op.Invoke(ctx, x.service.api, in)
	if err != nil {
		return err
	}
	if err := op.Encode(&x.out, out); err != nil {
		return err
	}
	return x.answerPost(f, bucket, key, out.(*shape.PutObjectResult).ETag)
}

// postHeaders gives the headers that a form's fields stand for.
func postHeaders(f *postForm) http.Header {
	h := http.Header{}
	for name, v := range f.fields {
		switch {
		case name == "acl":
			h.Set("X-Amz-Acl", v)
		case name == "tagging":
			h.Set("X-Amz-Tagging", tagsOf(v))
		case name == "content-type", name == "cache-control", name == "content-disposition", name == "content-encoding", name == "expires":
			h.Set(name, v)
		case strings.HasPrefix(name, "x-amz-"):
			switch name {
			case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token":
			default:
				h.Set(name, v)
			}
		}
	}
	if h.Get("Content-Type") == "" && f.kind != "" {
		h.Set("Content-Type", f.kind)
	}
	return h
}

// tagsOf makes a header's value of a form's tags, which are XML. What is not well-formed is left for S3 to refuse.
func tagsOf(text string) string {
	var t struct {
		TagSet struct {
			Tag []struct{ Key, Value string }
		}
	}
	if xml.Unmarshal([]byte(text), &t) != nil {
		return "%"
	}
	var pairs []string
	for _, tag := range t.TagSet.Tag {
		pairs = append(pairs, url.QueryEscape(tag.Key)+"="+url.QueryEscape(tag.Value))
	}
	return strings.Join(pairs, "&")
}

// answerPost answers with a redirect, a status or a document.
func (x *exchange) answerPost(f *postForm, bucket, key, etag string) error {
	to := f.fields["success_action_redirect"]
	if to == "" {
		to = f.fields["redirect"]
	}
	if to != "" {
		if u, err := url.Parse(to); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			q := u.Query()
			q.Set("bucket", bucket)
			q.Set("key", key)
			q.Set("etag", etag)
			u.RawQuery = q.Encode()
			x.out.Status = http.StatusSeeOther
			x.out.Header.Set("Location", u.String())
			return x.send()
		}
	}
	scheme := "http"
	if x.info.Secure {
		scheme = "https"
	}
	location := url.URL{Scheme: scheme, Host: x.r.Host, Path: "/" + key}
	if x.bucket == "" {
		location.Path = "/" + bucket + "/" + key
	}
	x.out.Header["Location"] = []string{location.String()}
	switch f.fields["success_action_status"] {
	case "200":
	case "201":
		x.out.Status = http.StatusCreated
		x.out.Namespace = ""
		x.out.OpenXML("PostResponse")
		x.out.Body = wire.AppendString(x.out.Body, "Location", location.String())
		x.out.Body = wire.AppendString(x.out.Body, "Bucket", bucket)
		x.out.Body = wire.AppendString(x.out.Body, "Key", key)
		x.out.Body = wire.AppendString(x.out.Body, "ETag", etag)
		x.out.CloseXML("PostResponse")
	default:
		x.out.Status = http.StatusNoContent
	}
	return x.send()
}

// postBody is a form's file, of a size that the policy bounds.
type postBody struct {
	r           io.Reader
	least, most int64
	read        int64
}

func (b *postBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	size := strconv.FormatInt(b.read, 10)
	switch {
	case b.read > b.most:
		return 0, awserr.New("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
			With("ProposedSize", size).With("MaxSizeAllowed", strconv.FormatInt(b.most, 10))
	case err == io.EOF && b.read < b.least:
		return 0, awserr.New("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").
			With("ProposedSize", size).With("MinSizeAllowed", strconv.FormatInt(b.least, 10))
	case err != nil && err != io.EOF:
		return n, awserr.New("IncompleteBody", "The request body terminated unexpectedly").Because(err)
	}
	return n, err
}
