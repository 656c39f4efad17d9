package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/dhcp"
	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// services6 are a VPC's router advertisements and DHCPv6.
type services6 struct {
	server  *dhcp.Server6
	router  *dhcp.Router
	joined  map[int]bool // taps that the server hears
	sockets []net.PacketConn
	stop    chan struct{}
	work    sync.WaitGroup
}

// leasesSix gives what guests are told about IPv6, by the tap's number.
func (s *services) leasesSix(state network.VPC, want rules.VPC) map[int]dhcp.Lease6 {
	if !want.IPv6 {
		return nil
	}
	mac, _ := net.ParseMAC(rules.TapMAC)
	first := map[string]netip.Addr{}
	for _, i := range state.Interfaces {
		if len(i.IPv6) > 0 {
			first[i.ID] = i.IPv6[0]
		}
	}
	out := make(map[int]dhcp.Lease6, len(want.Taps))
	for _, t := range want.Taps {
		if ip := first[t.ID]; ip.IsValid() {
			out[s.space.index[t.Name]] = dhcp.Lease6{IP: ip, Router: mac, MTU: s.d.cfg.MTU, Duration: leaseTime}
		}
	}
	return out
}

// lease6 gives what is told to the guest of a tap: nothing where it has no address.
func (s *services) lease6(index int) (dhcp.Lease6, bool) {
	l, ok := s.view.Load().leases6[index]
	return l, ok
}

// updateSix follows a new state. A guest that has an address now is told at once.
func (s *services) updateSix(state network.VPC, want rules.VPC) error {
	if !want.IPv6 {
		s.closeSix()
		return nil
	}
	if s.six == nil {
		if err := s.openSix(); err != nil {
			return fmt.Errorf("start IPv6 services: %w", err)
		}
	}
	leases := s.view.Load().leases6
	for index := range s.six.joined {
		if _, ok := leases[index]; !ok {
			delete(s.six.joined, index)
		}
	}
	var errs []error
	for index, l := range leases {
		if s.six.joined[index] {
			continue
		}
		// A tap that had an address before is heard already.
		if err := s.six.server.Join(index); err != nil && !errors.Is(err, unix.EADDRINUSE) {
			errs = append(errs, fmt.Errorf("hear tap %d: %w", index, err))
			continue
		}
		s.six.joined[index] = true
		s.six.router.Tell(index, l)
	}
	return errors.Join(errs...)
}

func (s *services) openSix() (err error) {
	six := &services6{joined: map[int]bool{}, stop: make(chan struct{})}
	defer func() {
		if err != nil {
			for _, c := range six.sockets {
				c.Close()
			}
		}
	}()
	err = s.space.enter(func() error {
		for _, at := range [][2]string{{"udp6", "[::]:547"}, {"ip6:ipv6-icmp", "::"}} {
			c, err := net.ListenPacket(at[0], at[1])
			if err != nil {
				return err
			}
			six.sockets = append(six.sockets, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if six.server, err = dhcp.NewServer6(six.sockets[0]); err != nil {
		return err
	}
	if six.router, err = dhcp.NewRouter(six.sockets[1]); err != nil {
		return err
	}
	six.work.Go(func() { s.ended("dhcpv6", six.server.Serve(s.lease6)) })
	six.work.Go(func() { s.ended("router advertisements", six.router.Serve(s.lease6)) })
	six.work.Go(func() {
		t := time.NewTicker(dhcp.Interval)
		defer t.Stop()
		for {
			select {
			case <-six.stop:
				return
			case <-t.C:
			}
			for index, l := range s.view.Load().leases6 {
				six.router.Tell(index, l)
			}
		}
	})
	s.six = six
	return nil
}

func (s *services) closeSix() {
	if s.six == nil {
		return
	}
	close(s.six.stop)
	for _, c := range s.six.sockets {
		c.Close()
	}
	s.six.work.Wait()
	s.six = nil
}
