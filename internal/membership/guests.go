package membership

import (
	"errors"
	"net/netip"

	"karri.dev/internal/pki"
	"karri.dev/internal/store"
)

// SpeaksFor says whether a process may bring the cloud the requests of a guest at this address of a VPC, that come by this VPC
// endpoint ("" = by none): only a node may, and only for the instances that it runs.
func (s *Server) SpeaksFor(who pki.Identity, vpc, endpoint string, guest netip.Addr) error {
	snap := s.State.Snapshot()
	if who.Role != "node" || !s.good(who) {
		return errors.New("not a node of this cloud")
	}
	e := store.InterfacesByIP.One(snap, vpc+"/"+guest.String())
	if e == nil {
		return errors.New("no interface has this address")
	}
	if inst := store.Instances.Get(snap, e.InstanceID); inst == nil || inst.Node != who.Name {
		return errors.New("no instance of this node's has this address")
	}
	if endpoint == "" {
		return nil
	}
	if at := store.VPCEndpoints.Get(snap, endpoint); at == nil || at.VPCID != vpc {
		return errors.New("the VPC has no such endpoint")
	}
	return nil
}
