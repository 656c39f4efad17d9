package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithy "github.com/aws/smithy-go"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/store"
)

// TestEveryOperation: each operation that AWS's own client knows is served, or is refused in so many words. The table of the
// refused ones is in docs/s3.md. None of them does anything else in its place.
func TestEveryOperation(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "kept")
	c.put(t, "kept", "key", []byte("data"))
	docs, err := os.ReadFile("../../../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	client := c.client(0, region, func(o *awss3.Options) { o.HTTPClient = sameHost{o.HTTPClient, at.Host} })
	var served, refused []string
	for _, op := range operations() {
		if slices.ContainsFunc(shape.Service().Operations, func(x wire.Operation) bool { return x.Name == op }) {
			served = append(served, op)
			continue
		}
		refused = append(refused, op)
		method := reflect.ValueOf(client).MethodByName(op)
		in := reflect.New(method.Type().In(1).Elem())
		fill(in.Elem(), 0)
		out := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
		err, _ := out[1].Interface().(error)
		var api smithy.APIError
		if !errors.As(err, &api) || status(err) == 0 {
			t.Errorf("%s: %v", op, err)
			continue
		}
		if api.ErrorCode() != "NotImplemented" {
			t.Log(op, err)
		}
		if row := "| `" + op + "` | `" + api.ErrorCode() + "` |"; !strings.Contains(string(docs), row) {
			t.Errorf("docs/s3.md does not have this row: %s", row)
		}
	}
	if len(served)+len(refused) < 110 || len(served) < 80 {
		t.Errorf("%d served, %d refused: that is not the whole API", len(served), len(refused))
	}
	if string(c.get(t, "kept", "key")) != "data" {
		t.Error("the object has changed")
	}
	n, err := c.engine.Tally(t.Context(), store.Buckets.Get(c.store.Snapshot(), "kept").Engine)
	if err != nil || n.Objects != 1 || n.Bytes != 4 {
		t.Errorf("%+v, %v", n, err)
	}
	if out, err := c.mine.ListBuckets(t.Context(), &awss3.ListBucketsInput{}); err != nil || len(out.Buckets) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	t.Logf("%d operations served, %d refused", len(served), len(refused))
}

// operations gives the names of the client's operations.
func operations() (names []string) {
	client := reflect.TypeFor[*awss3.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() == 4 && m.Type.In(1) == reflect.TypeFor[context.Context]() && m.Type.IsVariadic() && m.Type.NumOut() == 2 {
			names = append(names, m.Name)
		}
	}
	return names
}

// fill gives every field of an input a value.
func fill(v reflect.Value, depth int) {
	names := map[string]string{"Bucket": "kept", "Key": "key"}
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if !f.CanSet() || strings.HasPrefix(field.Name, "If") || strings.HasPrefix(field.Name, "Checksum") || field.Name == "ExpectedBucketOwner" {
			continue
		}
		switch {
		case f.Kind() == reflect.String:
			f.SetString("x")
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && depth < 6:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			fill(f.Index(0), depth+1)
		case f.Kind() == reflect.Struct && depth < 6 && f.Type() != reflect.TypeFor[time.Time]():
			fill(f, depth+1)
		case f.Type() == reflect.TypeFor[io.Reader]():
			f.Set(reflect.ValueOf(strings.NewReader("x")))
		case f.Type() == reflect.TypeFor[types.ObjectEncryption]():
			f.Set(reflect.ValueOf(&types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: aws.String("x")}}))
		case f.Kind() != reflect.Pointer:
		case f.Type().Elem().Kind() == reflect.String:
			value := "x"
			if name, ok := names[field.Name]; ok {
				value = name
			}
			f.Set(reflect.ValueOf(&value))
		case f.Type().Elem().Kind() == reflect.Struct && f.Type().Elem() != reflect.TypeFor[time.Time]() && depth < 6:
			f.Set(reflect.New(f.Type().Elem()))
			fill(f.Elem(), depth+1)
		case f.Type().Elem().Kind() == reflect.Bool:
			f.Set(reflect.New(f.Type().Elem()))
		case f.Type().Elem().Kind() == reflect.Int32:
			f.Set(reflect.New(f.Type().Elem()))
			f.Elem().SetInt(1)
		}
	}
}

// sameHost sends everything to one address, whatever names a client makes.
type sameHost struct {
	awss3.HTTPClient
	host string
}

func (s sameHost) Do(r *http.Request) (*http.Response, error) {
	r.Host, r.URL.Host, r.URL.Scheme = r.URL.Host, s.host, "http"
	return s.HTTPClient.Do(r)
}
