// Package network is the engine family that gives machines their network. A driver serves one host: netns
// for real (one namespace per VPC, routed taps, nftables), fake for simulation. Types here are the whole
// desired state of one host, as plain data: compiling it into rules is a pure function, applying it sends
// only the difference.
package network

import (
	"context"
	"os"
)

// Driver keeps one host's network. Methods may be called concurrently.
type Driver interface {
	// Apply makes the host's network what state says, touching only what differs: established connections
	// of what stays are not disturbed, and a state that is already there costs little. Foreign changes to
	// what the driver owns are repaired. On an error what could be applied is; call again.
	Apply(ctx context.Context, state State) error
	// OpenTap gives an open tap file of an applied interface, for a hypervisor. The caller closes it.
	OpenTap(ctx context.Context, interfaceID string) (*os.File, error)
	// Tunnels says how the VPN tunnels of the applied state are, in order of ID.
	Tunnels() []TunnelStatus
	// Learned gives the addresses of guests on a flat network as its DHCP server gave them, in order of interface: the
	// newest ones, of those that the applied state does not have.
	Learned() []LearnedAddress
	// News holds a word whenever Tunnels or Learned may have changed.
	News() <-chan struct{}
	// MTU is that of guests' interfaces here.
	MTU() int
	// Destroy removes everything that the driver made on this host.
	Destroy(ctx context.Context) error
	// Close ends the driver's services (DHCP, DNS, metadata). The data path stays.
	Close() error
}
