package wiretest

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"karri.dev/internal/aws/awserr"
)

// compared makes streams comparable and leaves out what the SDK keeps beside the members.
var compared = cmp.Options{
	cmp.FilterPath(func(p cmp.Path) bool {
		f, ok := p.Last().(cmp.StructField)
		return ok && (f.Name() == "ResultMetadata" || f.Name() == "noSmithyDocumentSerde" || f.Name() == "ExpiresString")
	}, cmp.Ignore()),
	cmp.Transformer("payload", func(r io.ReadCloser) string {
		if b, ok := r.(*body); ok {
			return b.text
		}
		return ""
	}),
	cmpopts.EquateEmpty(),
}

// TestRoundTrip calls every operation with AWS's SDK, every member set, and wants each side to get what
// the other sent.
func TestRoundTrip(t *testing.T) {
	for _, s := range services() {
		srv := &server{service: s.Service}
		client := s.client(config(srv))
		for _, op := range s.Operations {
			t.Run(s.Name+"/"+op.Name, func(t *testing.T) { roundTrip(t, s, srv, client, op.Name) })
		}
	}
}

func roundTrip(t *testing.T, s tested, srv *server, client any, operation string) {
	in, out, sdkIn, sdkOut := s.types(client, operation)
	request, sent := reflect.New(in), reflect.New(sdkIn)
	fill := Filler{Special: s.in, Suffix: s.suffix}
	fill.Fill(request.Elem(), sent.Elem(), "")
	answer, want := reflect.New(out), reflect.New(sdkOut)
	fill.Special = s.out
	fill.Fill(answer.Elem(), want.Elem(), "")
	if fill.Missing != nil {
		t.Errorf("the SDK has no members %v", fill.Missing)
	}
	*srv = server{service: s.Service, answer: answer.Interface()}
	got, err := call(client, operation, sent)
	if err != nil {
		t.Fatalf("%v\nrequest:\n%s", err, srv.dump)
	}
	if srv.operation != operation {
		t.Fatalf("arrived as %s", srv.operation)
	}
	still(srv.request)
	still(got)
	if diff := cmp.Diff(request.Interface(), srv.request, compared); diff != "" {
		t.Errorf("request (-sent +decoded):\n%s\n%s", diff, srv.dump)
	}
	if diff := cmp.Diff(want.Interface(), got, compared, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("answer (-encoded +received):\n%s", diff)
	}
}

// still reads the payload of a request or result, so that it can be compared.
func still(v any) {
	f := reflect.ValueOf(v).Elem().FieldByName("Body")
	if !f.IsValid() {
		f = reflect.ValueOf(v).Elem().FieldByName("BlockData")
	}
	if !f.IsValid() || f.IsNil() {
		return
	}
	data, err := io.ReadAll(f.Interface().(io.Reader))
	if err != nil {
		data = []byte(err.Error())
	}
	put(f, text(data))
}

func call(client any, operation string, in reflect.Value) (any, error) {
	results := reflect.ValueOf(client).MethodByName(operation).Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
	err, _ := results[1].Interface().(error)
	return results[0].Interface(), err
}

// TestEmptyAnswers wants the SDK to understand answers that have nothing in them.
func TestEmptyAnswers(t *testing.T) {
	for _, s := range services() {
		srv := &server{service: s.Service}
		client := s.client(config(srv))
		for _, op := range s.Operations {
			_, out, sdkIn, _ := s.types(client, op.Name)
			in, _, _, _ := s.types(client, op.Name)
			request, sent := reflect.New(in), reflect.New(sdkIn)
			(&Filler{Special: s.in, Suffix: s.suffix}).Fill(request.Elem(), sent.Elem(), "")
			*srv = server{service: s.Service, answer: reflect.New(out).Interface()}
			if _, err := call(client, op.Name, sent); err != nil {
				t.Errorf("%s: %v", op.Name, err)
			}
		}
	}
}

// TestErrors wants the SDK to read code, message and request id of errors.
func TestErrors(t *testing.T) {
	for _, s := range services() {
		srv := &server{service: s.Service}
		client := s.client(config(srv))
		for _, op := range s.Operations {
			if op.Method == "HEAD" { // has no body to carry a code
				continue
			}
			in, _, sdkIn, _ := s.types(client, op.Name)
			request, sent := reflect.New(in), reflect.New(sdkIn)
			(&Filler{Special: s.in, Suffix: s.suffix}).Fill(request.Elem(), sent.Elem(), "")
			*srv = server{service: s.Service, err: awserr.New("Some.Code", "It <failed> & %s", "more").With("BucketName", "b")}
			_, err := call(client, op.Name, sent)
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != "Some.Code" || api.ErrorMessage() != "It <failed> & more" {
				t.Errorf("%s: got %v", op.Name, err)
			}
		}
	}
}
