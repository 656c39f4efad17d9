package wiretest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The parts of a golden file.
const (
	requestMark = "-- request --\n"
	decodedMark = "-- decoded --\n"
	answerMark  = "\n-- answer --\n"
)

// TestGolden holds each operation's request as AWS's SDK writes it, what it decodes to, and the answer, every
// member set, byte for byte. With -update the requests are taken from the SDK anew.
func TestGolden(t *testing.T) {
	for _, s := range services() {
		for _, op := range s.Operations {
			t.Run(s.Name+"/"+op.Name, func(t *testing.T) { golden(t, s, op) })
		}
		files, err := filepath.Glob(filepath.Join("testdata", s.Name, "*"))
		if err != nil || len(files) != len(s.Operations) {
			t.Errorf("%s: %d golden files for %d operations (%v)", s.Name, len(files), len(s.Operations), err)
		}
	}
}

func golden(t *testing.T, s tested, op wire.Operation) {
	path := filepath.Join("testdata", s.Name, op.Name+".txt")
	old, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	request, _, _ := strings.Cut(strings.TrimPrefix(string(old), requestMark), decodedMark)
	if *update {
		request = recorded(t, s, op.Name)
	}
	now := requestMark + request + decodedMark + decoded(t, s, op, request) + answerMark + answered(t, s, op) + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(old), now); diff != "" {
		t.Errorf("(-golden +now; -update accepts it)\n%s", diff)
	}
}

// recorded gives the request that the SDK makes.
func recorded(t *testing.T, s tested, operation string) string {
	srv := &server{service: s.Service}
	client := s.client(config(srv))
	in, out, sdkIn, _ := s.types(client, operation)
	request, sent := reflect.New(in), reflect.New(sdkIn)
	(&Filler{Special: s.in, Suffix: s.suffix}).Fill(request.Elem(), sent.Elem(), "")
	srv.answer = reflect.New(out).Interface()
	if _, err := call(client, operation, sent); err != nil {
		t.Fatal(err)
	}
	return srv.dump
}

// decoded gives what a recorded request decodes to, as JSON.
func decoded(t *testing.T, s tested, op wire.Operation, request string) string {
	var r *http.Request
	payload := strings.TrimSuffix(request, "\n")
	switch s.Protocol {
	case wire.JSON:
		target, body, _ := strings.Cut(payload, "\n")
		payload = body
		r = httptest.NewRequest("POST", "/", nil)
		r.Header.Set("X-Amz-Target", target)
	case wire.RestXML, wire.RestJSON:
		var err error
		// A blank line ends the headers; the payload's length is not among them.
		if r, err = http.ReadRequest(bufio.NewReader(strings.NewReader(request))); err != nil {
			t.Fatal(err)
		}
		_, payload, _ = strings.Cut(payload, "\n\n")
	default:
		payload = strings.ReplaceAll(payload, "\n", "&")
		r = httptest.NewRequest("POST", "/", strings.NewReader(payload))
	}
	req, found, err := route(s.Service, r, []byte(payload))
	if err != nil || found.Name != op.Name {
		t.Fatalf("routed to %v: %v", found, err)
	}
	v, err := op.Decode(req)
	if err != nil {
		t.Fatal(err)
	}
	still(v)
	return asJSON(t, v)
}

func asJSON(t *testing.T, v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// answered gives the answer with every member set, an element a line.
func answered(t *testing.T, s tested, op wire.Operation) string {
	method, _ := s.api.MethodByName(op.Name)
	answer := reflect.New(method.Type.Out(0).Elem())
	(&Filler{Special: s.out, Suffix: s.suffix}).Fill(answer.Elem(), reflect.Value{}, "")
	w := &wire.Response{RequestID: requestID, Namespace: s.Namespace("")}
	if err := op.Encode(w, answer.Interface()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, values := range w.Header {
		lines = append(lines, name+": "+strings.Join(values, ","))
	}
	slices.Sort(lines)
	body := w.Body
	if w.Stream != nil {
		body, _ = io.ReadAll(w.Stream)
	}
	return fmt.Sprintf("%d\n%s\n\n%s", w.Status, strings.Join(lines, "\n"), bytes.ReplaceAll(body, []byte("><"), []byte(">\n<")))
}

// TestVersions wants each API version to be answered in its own namespace, and nothing else to get there.
func TestVersions(t *testing.T) {
	for _, s := range services() {
		if s.Protocol != wire.EC2 && s.Protocol != wire.Query {
			continue
		}
		if ns := s.Namespace("2011-01-01"); !strings.HasSuffix(ns, "/2011-01-01/") {
			t.Errorf("%s: %s", s.Name, ns)
		}
		if s.Namespace("") != s.Namespace(s.APIVersion) {
			t.Errorf("%s: the namespace of no version is %s", s.Name, s.Namespace(""))
		}
		for _, bad := range []string{"x", "2011-01-01\"", "2011-1-1", "../2011-01-01", "2011-01-01\n"} {
			if s.CheckVersion(bad) == nil {
				t.Errorf("%s: version %q passes", s.Name, bad)
			}
		}
	}
}

// TestNoResult wants a handler that gives nothing to be an error, not an empty success.
func TestNoResult(t *testing.T) {
	for _, s := range services() {
		for _, op := range s.Operations {
			if err := op.Encode(&wire.Response{}, nil); err == nil {
				t.Errorf("%s/%s: no result is encoded", s.Name, op.Name)
			}
		}
	}
}

// FuzzForm decodes any form as any operation of EC2 and IAM.
func FuzzForm(f *testing.F) {
	f.Add("Filter.1.Name=x&Filter.1.Value.1=y")
	f.Add("Filter.99999999999999999999.Name=x&Filter.01.Name=y&Filter..=z&.=&=")
	f.Add("TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Key=l&MaxCount=1e9&MinCount=-1")
	f.Add("Tags.member.1.Key=a&Tags=&MaxItems=99999999999999999999")
	list := services()[:3]
	f.Fuzz(func(t *testing.T, query string) {
		form, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		for _, s := range list {
			for _, op := range s.Operations {
				v, err := op.Decode(&wire.Request{Form: form})
				if (v == nil) == (err == nil) {
					t.Fatalf("%s: %v, %v", op.Name, v, err)
				}
			}
		}
	})
}
