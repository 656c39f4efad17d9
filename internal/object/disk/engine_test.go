package disk

import (
	"testing"

	"go.uber.org/goleak"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
	"karri.dev/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func sealer(t testing.TB) Sealer {
	t.Helper()
	s, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func memory(t testing.TB) object.Engine {
	return open(t, Config{Dir: "/objects", FS: InMemory(), Sealer: sealer(t)})
}

func TestContractInMemory(t *testing.T) { objecttest.Run(t, memory) }

func TestContractUnencrypted(t *testing.T) {
	objecttest.Run(t, func(t testing.TB) object.Engine { return open(t, Config{Dir: "/objects", FS: InMemory()}) })
}

func TestContractOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some hundred megabytes")
	}
	objecttest.Run(t, func(t testing.TB) object.Engine { return open(t, Config{Dir: t.TempDir(), Sealer: sealer(t)}) })
}

// home gives the home place's folders.
func (e *Engine) home() *folders { return e.places[0].file.(*folders) }
