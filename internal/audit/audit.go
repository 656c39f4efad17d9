// Package audit records who asked for what, in the form of CloudTrail's events.
package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/call"
)

// Event is one API call. Answers are not part of it: they can hold secrets.
type Event struct {
	Version      string            `json:"eventVersion"`
	UserIdentity UserIdentity      `json:"userIdentity"`
	Time         time.Time         `json:"eventTime"`
	Source       string            `json:"eventSource"` // "ec2.amazonaws.com"
	Name         string            `json:"eventName"`
	Region       string            `json:"awsRegion"`
	SourceIP     string            `json:"sourceIPAddress"`
	UserAgent    string            `json:"userAgent,omitempty"`
	ErrorCode    string            `json:"errorCode,omitempty"`
	ErrorMessage string            `json:"errorMessage,omitempty"`
	Parameters   map[string]string `json:"requestParameters,omitempty"`
	Additional   map[string]string `json:"additionalEventData,omitempty"`
	RequestID    string            `json:"requestID"`
	EventID      string            `json:"eventID"`
	ReadOnly     bool              `json:"readOnly"`
	Resources    []Resource        `json:"resources,omitempty"`
	Type         string            `json:"eventType"`
	Management   bool              `json:"managementEvent"`
	Recipient    string            `json:"recipientAccountId,omitempty"`
	Category     string            `json:"eventCategory"` // "Management" or "Data"
}

// Sink takes events. Record is called on the way of every request: it must be fast, and safe for concurrent use.
type Sink interface {
	Record(e *Event)
}

// Both gives every event to two sinks.
func Both(a, b Sink) Sink { return both{a, b} }

type both [2]Sink

func (b both) Record(e *Event) {
	b[0].Record(e)
	b[1].Record(e)
}

// New makes the event of a call; form holds its parameters, which are redacted here; resource is S3's
// BUCKET[/KEY].
func New(info *call.Info, form url.Values, resource, code, message string) *Event {
	e := &Event{
		Version: "1.11", Time: info.Time.UTC().Truncate(time.Second), Source: info.Service + ".amazonaws.com", Name: info.Operation,
		Region: info.Region, UserAgent: clip(info.UserAgent), ErrorCode: code,
		RequestID: info.RequestID, EventID: info.RequestID, ReadOnly: readOnly(info.Operation), Type: "AwsApiCall",
		Recipient: info.AccountID, Parameters: redact(form), UserIdentity: identity(&info.Caller),
		Management: true, Category: "Management", Resources: resources(info.Service, info.AccountID, form, resource),
	}
	for name, v := range e.Parameters { // errors tell what was wrong
		if v == hidden && form.Get(name) != "" {
			message = strings.ReplaceAll(message, form.Get(name), hidden)
		}
	}
	e.ErrorMessage = clip(message)
	if resource != "" {
		e.Parameters["resource"] = clip(resource)
		if strings.Contains(resource, "/") {
			e.Management, e.Category = false, "Data"
		}
	}
	if f := info.Federated; f != nil {
		e.UserIdentity = UserIdentity{Type: f.Type, PrincipalID: f.ID, UserName: f.Subject, Provider: f.Provider}
		e.Recipient = f.Account
	}
	if info.SourceIP.IsValid() {
		e.SourceIP = info.SourceIP.String()
	}
	if info.SourceVPC != "" {
		e.Additional = map[string]string{"sourceVpc": info.SourceVPC}
	}
	if s := info.Session; s != nil && s.ImpersonatedBy != "" {
		if e.Additional == nil {
			e.Additional = map[string]string{}
		}
		e.Additional["impersonatedBy"] = s.ImpersonatedBy
	}
	return e
}

func readOnly(operation string) bool {
	for _, p := range []string{"Describe", "Get", "List", "Head"} {
		if strings.HasPrefix(operation, p) {
			return true
		}
	}
	return false
}

// hidden is written in place of what is secret.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// secret lists names of parameters (lower case) whose values never are recorded; a part of the name is enough, as is a
// name above it in the request.
var secret = []string{"secret", "password", "userdata", "token", "signature", "privatekey", "credential", "customerkey", "assertion", "authenticationcode", "presignedurl", "sharedkey"}

// public are names that have such a part and no secrets.
var public = []string{
	"clienttoken", "nexttoken", "httptokens", "globalendpointtokenversion", "minimumpasswordlength", "maxpasswordage", "passwordreuseprevention",
	"passwordresetrequired", "allowuserstochangepassword", "servicespecificcredentialid", "assertionencryptionmode",
}

// plainly leaves out what names of headers are written with.
var plainly = strings.NewReplacer("-", "", "_", "")

// isSecret says whether a parameter's value is not to be recorded.
func isSecret(name string) bool {
	for part := range strings.SplitSeq(plainly.Replace(strings.ToLower(name)), ".") {
		if slices.Contains(public, part) {
			continue
		}
		for _, s := range secret {
			if strings.Contains(part, s) {
				return true
			}
		}
	}
	return false
}

// without takes the proof out of a value that is a signed URL: who has that has what it is for.
func without(value string) string {
	if i := strings.IndexByte(value, '?'); i >= 0 && strings.Contains(value[:i], "://") {
		return value[:i+1] + hidden
	}
	return value
}

// most is the number of bytes of a value that is recorded.
const most = 1024

func redact(form url.Values) map[string]string {
	out := make(map[string]string, len(form))
	for name, values := range form {
		if name == "Action" || name == "Version" || len(values) == 0 {
			continue
		}
		v := without(values[0])
		if isSecret(name) || name == "Value" && strings.EqualFold(form.Get("Attribute"), "userData") {
			v = hidden
		}
		out[clip(name)] = clip(v)
	}
	return out
}

func clip(s string) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Writer is a Sink that writes one line of JSON per event.
type Writer struct {
	mu  sync.Mutex
	w   *bufio.Writer
	enc *json.Encoder
	err error
}

// NewWriter makes a Writer. What it has not flushed is lost in a crash: see Run.
func NewWriter(w io.Writer) *Writer {
	b := bufio.NewWriterSize(w, 64<<10)
	return &Writer{w: b, enc: json.NewEncoder(whole{b})}
}

// whole passes on only whole events: the encoder writes one at a time.
type whole struct{ *bufio.Writer }

func (w whole) Write(event []byte) (int, error) {
	if len(event) > w.Available() {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(event)
}

// Record buffers the event.
func (w *Writer) Record(e *Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.enc.Encode(e); err != nil && w.err == nil {
		w.err = err
	}
}

// Flush writes what is buffered, and gives the first error since the last Flush.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := errors.Join(w.err, w.w.Flush())
	w.err = nil
	return err
}

// Run flushes every second until ctx ends.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := w.Flush(); err != nil {
				return err
			}
		case <-ctx.Done():
			return w.Flush()
		}
	}
}
