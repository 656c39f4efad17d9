package objecttest

import (
	"bytes"
	"testing"

	"karri.dev/internal/object"
)

func customerKeys(t *testing.T, e object.Engine) {
	ctx := t.Context()
	key, other := Bytes(1, 32), Bytes(2, 32)
	for _, n := range sizes {
		body := Bytes(3, n)
		m, err := e.Put(ctx, "b", object.Put{Key: "o", Customer: key, Body: bytes.NewReader(body), Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		if m.Encryption != object.ByCustomer || m.ETag == ETag(body) || m.Size != int64(n) {
			t.Fatalf("%d bytes under a customer's key: %+v", n, m)
		}
		o, err := e.Get(ctx, "b", "o", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Range(0, int64(n))
		wantErr(t, "no key", err, object.ErrKey)
		for _, bad := range [][]byte{nil, {}, other, key[:31], append(bytes.Clone(key), 0)} {
			wantErr(t, "wrong key", o.Unlock(bad), object.ErrKey)
		}
		_, err = o.Range(0, int64(n))
		wantErr(t, "after wrong keys", err, object.ErrKey)
		if err := o.Unlock(key); err != nil {
			t.Fatal(err)
		}
		if got := readRange(t, o, int64(n/3), int64(n-n/3)); !bytes.Equal(got, body[n/3:]) {
			t.Fatalf("%d bytes came back wrong", n)
		}
		closing(t, o)
	}
	_, err := e.Put(ctx, "b", object.Put{Key: "o", Customer: key[:16], Size: 0})
	wantErr(t, "short key", err, object.ErrKey)

	id, err := e.CreateUpload(ctx, "b", object.Upload{Key: "m", Customer: key})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := e.GetUpload(ctx, "b", "m", id); err != nil || u.Encryption != object.ByCustomer || u.Customer != nil {
		t.Fatalf("upload: %+v, %v", u, err)
	}
	first, second := Bytes(4, 5<<20+3), Bytes(5, 70000)
	for _, bad := range [][]byte{nil, other} {
		_, err := e.PutPart(ctx, "b", "m", id, 1, object.Put{Customer: bad, Body: bytes.NewReader(first), Size: -1})
		wantErr(t, "part with another key", err, object.ErrKey)
	}
	var ps []object.Part
	for i, b := range [][]byte{first, second} {
		p, err := e.PutPart(ctx, "b", "m", id, i+1, object.Put{Customer: key, Body: bytes.NewReader(b), Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	if _, err := e.Complete(ctx, "b", "m", id, ps, object.Put{}); err != nil {
		t.Fatal(err)
	}
	o, err := e.Get(ctx, "b", "m", "")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, o)
	if err := o.Unlock(key); err != nil {
		t.Fatal(err)
	}
	if got := readRange(t, o, 5<<20, 70003); !bytes.Equal(got, append(bytes.Clone(first[5<<20:]), second...)) {
		t.Fatal("parts came back wrong")
	}
	// A key for what needs none is refused, too: else a client would believe that it is needed.
	put(t, e, "b", "plain", []byte("x"))
	plain, err := e.Get(ctx, "b", "plain", "")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, plain)
	wantErr(t, "needless key", plain.Unlock(key), object.ErrKey)
}
