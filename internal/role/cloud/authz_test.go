package cloud

import (
	"log/slog"
	"testing"

	"karri.dev/internal/store"
)

// Every operation of every service says what leave it asks for; NewAuthz panics for one that does not.
func TestEveryOperationIsAuthorised(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	defer st.Close()
	NewAuthz(st, nil, nil)
}
