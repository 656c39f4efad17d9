package frontdoor

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"

	"karri.dev/internal/aws/awserr"
)

// ownForm marks the requests of Upload.
type ownForm struct{}

func (x *exchange) ownForm() bool { return x.r.Context().Value(ownForm{}) != nil }

// Upload puts a file into a bucket as a browser's form does, in the name of who signed the policy among its fields, and
// within what that allows. The old signature is taken, whatever the account's setting: BundleInstance knows no other.
func (d *Door) Upload(ctx context.Context, bucket string, fields map[string]string, file []byte) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := form.WriteField(name, fields[name]); err != nil {
			return err
		}
	}
	part, err := form.CreateFormFile("file", "file")
	if err == nil {
		_, err = part.Write(file)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, ownForm{}, true), http.MethodPost, "http://localhost/"+bucket, &body)
	if err != nil {
		return err
	}
	r.RemoteAddr, r.RequestURI = "127.0.0.1:0", r.URL.RequestURI()
	r.Header.Set("Content-Type", form.FormDataContentType())
	answer := &recorder{header: http.Header{}}
	d.ServeHTTP(answer, r)
	if answer.status/100 == 2 {
		return nil
	}
	code, message := errorOf(answer.body.Bytes())
	if code == "" || answer.status >= 500 {
		return fmt.Errorf("upload to bucket %s: status %d %s: %s", bucket, answer.status, code, message)
	}
	return awserr.New(code, "%s", message).WithStatus(answer.status)
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// errorOf reads S3's error document.
func errorOf(body []byte) (code, message string) {
	var doc struct{ Code, Message string }
	if err := xml.Unmarshal(body, &doc); err != nil {
		return "", ""
	}
	return doc.Code, doc.Message
}
