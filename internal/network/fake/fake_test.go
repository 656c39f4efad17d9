package fake

import (
	"errors"
	"testing"

	"karri.dev/internal/network"
	"karri.dev/internal/network/networktest"
)

func TestContract(t *testing.T) {
	networktest.Run(t, func(*testing.T) network.Driver { return New(Config{}) })
}

func TestFault(t *testing.T) {
	broken := errors.New("broken")
	d := New(Config{Fault: func(string) error { return broken }})
	if err := d.Apply(t.Context(), network.State{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
