// Package fake is the network driver of simulated hosts: it keeps the state and makes nothing of it. It checks
// states as the real driver does, so that a simulation finds a control plane that asks for nonsense.
package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// Config says how the fake behaves.
type Config struct {
	MTU int // 0 = 1500
	// Unchecked takes states as they are: for measuring a control plane, in whose process the compiling of many
	// hosts' rules would be other machines' work.
	Unchecked bool
	// Fault, if set, is asked before each Apply, OpenTap and Destroy, and may make it fail.
	Fault func(operation string) error
}

// Driver is a network.Driver.
type Driver struct {
	cfg Config

	mu     sync.Mutex
	state  network.State
	taps   map[string]bool
	closed bool
}

var _ network.Driver = (*Driver)(nil)

// Tunnels says that every tunnel of the state is up.
func (d *Driver) Tunnels() (out []network.TunnelStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.state.VPCs {
		if v.VPN == nil {
			continue
		}
		for _, c := range v.VPN.Connections {
			for _, t := range c.Tunnels {
				out = append(out, network.TunnelStatus{ID: t.ID, Up: true})
			}
		}
	}
	slices.SortFunc(out, func(a, b network.TunnelStatus) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Learned is empty: nobody here asks a DHCP server.
func (d *Driver) Learned() []network.LearnedAddress { return nil }

// News never holds a word: what Tunnels says follows from the state.
func (d *Driver) News() <-chan struct{} { return nil }

// New makes a Driver.
func New(cfg Config) *Driver {
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	return &Driver{cfg: cfg}
}

var errClosed = errors.New("fake network: closed")

// begin locks the driver for an operation; the caller unlocks it if there is no error.
func (d *Driver) begin(operation string) error {
	d.mu.Lock()
	err := error(nil)
	if d.closed {
		err = errClosed
	} else if d.cfg.Fault != nil {
		err = d.cfg.Fault(operation)
	}
	if err != nil {
		d.mu.Unlock()
	}
	return err
}

// Apply keeps the state.
func (d *Driver) Apply(ctx context.Context, state network.State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.begin("apply"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.state, d.taps = state, map[string]bool{}
	if d.cfg.Unchecked {
		for _, v := range state.VPCs {
			for _, i := range v.Interfaces {
				d.taps[i.ID] = true
			}
		}
		if state.Flat != nil {
			for _, i := range state.Flat.Interfaces {
				d.taps[i.ID] = true
			}
		}
		return nil
	}
	host, err := rules.Compile(rules.Options{Link: "fake"}, state)
	for _, v := range host.VPCs {
		for _, t := range v.Taps {
			d.taps[t.ID] = true
		}
	}
	if host.Flat != nil {
		for _, t := range host.Flat.Taps {
			d.taps[t.ID] = true
		}
	}
	return err
}

// OpenTap gives a file that swallows everything.
func (d *Driver) OpenTap(_ context.Context, interfaceID string) (*os.File, error) {
	if err := d.begin("open tap"); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if !d.taps[interfaceID] {
		return nil, fmt.Errorf("fake network: no interface %s here", interfaceID)
	}
	return os.OpenFile(os.DevNull, os.O_RDWR, 0)
}

// MTU is that of guests' interfaces.
func (d *Driver) MTU() int { return d.cfg.MTU }

// Destroy forgets everything.
func (d *Driver) Destroy(context.Context) error {
	if err := d.begin("destroy"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.state, d.taps = network.State{}, nil
	return nil
}

// Close ends the driver.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

// State gives the last applied state, which the caller must not change.
func (d *Driver) State() network.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}
