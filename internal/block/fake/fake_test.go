package fake

import (
	"testing"

	"karri.dev/internal/block"
	"karri.dev/internal/block/blocktest"
)

func TestContract(t *testing.T) {
	hosts := map[*testing.T]*Driver{}
	blocktest.Run(t, blocktest.Harness{
		Open: func(t *testing.T) block.Driver {
			if hosts[t] == nil {
				hosts[t] = New()
			}
			return hosts[t]
		},
		Hold: func(_ *testing.T, d block.Driver, id string) func() {
			d.(*Driver).Hold(id, true)
			return func() { d.(*Driver).Hold(id, false) }
		},
	})
}
