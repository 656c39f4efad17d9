package s3

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// Server access logs: a line for each request, in AWS's format, written into the target bucket every now and then.
// Like AWS's they are best effort: lines of the last minute are lost when the process is killed.

const (
	logPeriod  = time.Minute
	maxLogging = 64 << 20
)

// accessLogs are the lines that wait, by the engine's name of the bucket that was asked.
type accessLogs struct {
	mu    sync.Mutex
	size  int
	lines map[string]*waiting
}

type waiting struct {
	bucket string
	text   bytes.Buffer
}

// Logs says whether a bucket's requests are logged.
func (s *Service) Logs(bucket string) bool { return s.logged(bucket) != nil }

// logged gives a bucket if its requests are logged.
func (s *Service) logged(name string) *resource.Bucket {
	snap := s.store.Snapshot()
	b := s.visible(snap, name)
	if b == nil {
		return nil
	}
	if l, err := s.logging(snap, b); l == nil || err != nil {
		return nil
	}
	return b
}

// Accessed keeps the line of a request if its bucket is logged.
func (s *Service) Accessed(a call.Access) {
	b := s.logged(a.Bucket)
	if b == nil {
		return
	}
	line := s.accessLine(b, a)
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if s.logs.lines == nil {
		s.logs.lines = map[string]*waiting{}
	}
	w := s.logs.lines[b.Engine]
	if w == nil {
		w = &waiting{bucket: b.Name}
		s.logs.lines[b.Engine] = w
	}
	if s.logs.size+len(line) > maxLogging { // nobody takes them: memory is bounded
		return
	}
	s.logs.size += len(line)
	w.text.WriteString(line)
}

// RunAccessLogs writes logs until ctx ends, and the last ones then.
func (s *Service) RunAccessLogs(ctx context.Context) error {
	tick := time.NewTicker(logPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.WriteAccessLogs(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.WriteAccessLogs(last)
			return nil
		}
	}
}

// WriteAccessLogs writes all lines that wait.
func (s *Service) WriteAccessLogs(ctx context.Context) {
	s.logs.mu.Lock()
	lines := s.logs.lines
	s.logs.lines, s.logs.size = nil, 0
	s.logs.mu.Unlock()
	for engine, w := range lines {
		if err := s.writeLog(ctx, engine, w); err != nil {
			s.log.Warn("s3: access log was not written", "bucket", w.bucket, "err", err)
		}
	}
}

func (s *Service) writeLog(ctx context.Context, engine string, w *waiting) error {
	snap := s.store.Snapshot()
	b := s.visible(snap, w.bucket)
	if b == nil || b.Engine != engine {
		return nil
	}
	l, err := s.logging(snap, b)
	if l == nil || err != nil {
		return err
	}
	to := s.visible(snap, l.TargetBucket)
	if to == nil || to.AccountID != b.AccountID {
		return nil
	}
	key := logKey(l, b, s.now().UTC(), strings.ToUpper(s.ids.Hex(8)))
	if err := s.mayLog(ctx, b, to, key); err != nil {
		return err
	}
	a := owned(s.canonical(snap, to.AccountID))
	for _, g := range l.TargetGrants {
		a.Grants = append(a.Grants, shape.Grant(g))
	}
	return s.putLog(ctx, to, key, "text/plain", a, w.text.Bytes())
}

// logKey names a log object.
func logKey(l *shape.LoggingEnabled, b *resource.Bucket, now time.Time, unique string) string {
	name := now.Format("2006-01-02-15-04-05-") + unique
	f := l.TargetObjectKeyFormat
	if f == nil || f.PartitionedPrefix == nil {
		return l.TargetPrefix + name
	}
	if f.PartitionedPrefix.PartitionDateSource == "EventTime" { // one object holds the lines of a period; its day is what counts
		name = now.Format("2006-01-02-00-00-00-") + unique
	}
	return l.TargetPrefix + b.AccountID + "/" + b.Region + "/" + b.Name + now.Format("/2006/01/02/") + name
}

// accessLine is a line in the format of AWS's server access logs (LogFormat).
func (s *Service) accessLine(b *resource.Bucket, a call.Access) string {
	requester := ""
	switch {
	case a.Anonymous():
	case a.Root():
		requester = a.CanonicalID
	default:
		requester = a.ARN
	}
	number := func(n int64) string {
		if n < 0 {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	sent := "-"
	if a.Sent > 0 {
		sent = number(a.Sent)
	}
	return strings.Join([]string{
		s.canonical(s.store.Snapshot(), b.AccountID), b.Name, a.Time.UTC().Format("[02/Jan/2006:15:04:05 -0700]"), field(a.SourceIP.String()), field(requester), a.RequestID,
		logOperation(a), field(strings.ReplaceAll(url.QueryEscape(a.Key), "%2F", "/")), quoted(a.URI), strconv.Itoa(a.Status), field(a.Error), sent, number(a.Size),
		number(a.Total.Milliseconds()), number(a.Turn.Milliseconds()), quoted(a.Referer), quoted(a.UserAgent), field(a.VersionID), field(a.HostID),
		field(a.Signature), field(a.Cipher), field(a.AuthType), field(a.Host), field(a.TLS), "-", "-",
	}, " ") + "\n"
}

// field is a value without spaces; "-" for none.
func field(v string) string {
	v = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, v)
	if v == "" {
		return "-"
	}
	return v
}

// quoted is what the client has said: it cannot end the quotes or the line.
func quoted(v string) string {
	if v == "" {
		return `"-"`
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(v) {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

// logWords are what the log calls operations that are not plainly about a bucket or an object.
var logWords = map[string]string{
	"DeleteObjects": "MULTI_OBJECT_DELETE", "CreateMultipartUpload": "UPLOADS", "ListMultipartUploads": "UPLOADS", "CompleteMultipartUpload": "UPLOAD",
	"AbortMultipartUpload": "UPLOAD", "ListParts": "UPLOAD", "UploadPart": "PART", "UploadPartCopy": "PART", "ListObjectVersions": "BUCKETVERSIONS",
	"GetBucketLocation": "LOCATION", "GetBucketAcl": "ACL", "PutBucketAcl": "ACL", "GetObjectAcl": "ACL", "PutObjectAcl": "ACL", "GetBucketPolicy": "BUCKETPOLICY",
	"PutBucketPolicy": "BUCKETPOLICY", "DeleteBucketPolicy": "BUCKETPOLICY", "GetBucketVersioning": "VERSIONING", "PutBucketVersioning": "VERSIONING",
	"GetBucketLogging": "LOGGING_STATUS", "PutBucketLogging": "LOGGING_STATUS", "GetBucketNotificationConfiguration": "NOTIFICATION", "PutBucketNotificationConfiguration": "NOTIFICATION",
	"GetBucketLifecycleConfiguration": "LIFECYCLE", "PutBucketLifecycleConfiguration": "LIFECYCLE", "DeleteBucketLifecycle": "LIFECYCLE",
	"GetBucketTagging": "TAGGING", "PutBucketTagging": "TAGGING", "DeleteBucketTagging": "TAGGING", "GetObjectTagging": "OBJECT_TAGGING", "PutObjectTagging": "OBJECT_TAGGING", "DeleteObjectTagging": "OBJECT_TAGGING",
	"GetBucketCors": "CORS", "PutBucketCors": "CORS", "DeleteBucketCors": "CORS", "GetBucketWebsite": "WEBSITE", "PutBucketWebsite": "WEBSITE", "DeleteBucketWebsite": "WEBSITE",
	"GetBucketEncryption": "ENCRYPTION", "PutBucketEncryption": "ENCRYPTION", "DeleteBucketEncryption": "ENCRYPTION", "GetBucketReplication": "REPLICATION", "PutBucketReplication": "REPLICATION",
	"GetBucketRequestPayment": "REQUEST_PAYMENT", "PutBucketRequestPayment": "REQUEST_PAYMENT", "GetObjectAttributes": "OBJECT_ATTRIBUTES", "PreflightObject": "PREFLIGHT",
}

// logOperation says what a request did in the log's words: REST.GET.OBJECT.
func logOperation(a call.Access) string {
	if a.Operation == "WebsiteGet" {
		return "WEBSITE." + a.Method + ".OBJECT"
	}
	method, word := a.Method, logWords[a.Operation]
	switch {
	case a.Operation == "CopyObject":
		method, word = "COPY", "OBJECT"
	case a.Operation == "UploadPartCopy":
		method = "COPY"
	case word != "":
	case a.Key != "":
		word = "OBJECT"
	default:
		word = "BUCKET"
	}
	return "REST." + method + "." + word
}
