package volumekey

import "testing"

func TestKeys(t *testing.T) {
	k := New(make([]byte, 32))
	sealed, err := k.Make("111122223333", "vol-1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Open("111122223333", "vol-1", sealed)
	if err != nil || len(key) != 44 {
		t.Errorf("%q %v", key, err)
	}
	for _, other := range [][2]string{{"111122223333", "vol-2"}, {"444455556666", "vol-1"}} {
		if _, err := k.Open(other[0], other[1], sealed); err == nil {
			t.Errorf("opened for %v", other)
		}
	}
	if _, err := New(append(make([]byte, 31), 1)).Open("111122223333", "vol-1", sealed); err == nil {
		t.Error("another cloud opened it")
	}
}
