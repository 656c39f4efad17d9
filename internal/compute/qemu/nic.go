package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// nicID is QEMU's id of a network card, netID that of its tap.
func nicID(nic string) string { return "nic-" + nic }
func netID(nic string) string { return "net-" + nic }

var nicName = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)

func checkNIC(n compute.NIC) error {
	mac, err := net.ParseMAC(n.MAC)
	switch {
	case !nicName.MatchString(n.ID):
		return fmt.Errorf("network card id %q is not valid", n.ID)
	case err != nil || len(mac) != 6 || mac[0]&1 != 0:
		return fmt.Errorf("MAC %q is not valid", n.MAC)
	case n.MTU != 0 && (n.MTU < 68 || n.MTU > 65535):
		return fmt.Errorf("MTU %d is not possible", n.MTU)
	}
	return nil
}

func (m *machine) indexOfNIC(id string) int {
	return slices.IndexFunc(m.rec.Machine.NICs, func(n compute.NIC) bool { return n.ID == id })
}

// noteNIC adds a card to the machine's record, or takes the i-th away for i >= 0.
func (m *machine) noteNIC(i int, n compute.NIC) error {
	cards := slices.Clone(m.rec.Machine.NICs)
	if i < 0 {
		cards = append(cards, n)
	} else {
		cards = slices.Delete(cards, i, i+1)
	}
	m.rec.Machine.NICs = cards
	err := m.rec.save(m.dir)
	m.publish()
	return err
}

// setNIC implements Driver.SetNIC. The lock is held. As with disks, the port is noted first and the card last.
func (m *machine) setNIC(ctx context.Context, n compute.NIC, tap *os.File) (err error) {
	if err := checkNIC(n); err != nil {
		return err
	}
	if tap == nil {
		return errors.New("a network card needs a tap")
	}
	if m.indexOfNIC(n.ID) >= 0 {
		return nil
	}
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	port, tried := m.rec.Ports[nicID(n.ID)]
	if tried {
		if here, err := plugged(ctx, c, nicID(n.ID)); err != nil || here {
			return errors.Join(err, m.noteNIC(-1, n))
		}
	} else if port = m.freePort(); port < 0 {
		return errors.New("the machine has no free slot")
	}
	if err := dropNet(ctx, c, n.ID); err != nil { // of an earlier try
		return err
	}
	m.setPort(nicID(n.ID), port)
	if err := m.rec.save(m.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dropNet(context.WithoutCancel(ctx), c, n.ID))
			m.setPort(nicID(n.ID), -1)
			err = errors.Join(err, m.rec.save(m.dir))
		}
	}()
	if err := c.DoWithFile(ctx, "getfd", map[string]any{"fdname": netID(n.ID)}, nil, tap); err != nil {
		return err
	}
	err = c.Do(ctx, "netdev_add", map[string]any{"type": "tap", "id": netID(n.ID), "fd": netID(n.ID), "vhost": false}, nil)
	if err != nil {
		return errors.Join(err, c.Do(ctx, "closefd", map[string]any{"fdname": netID(n.ID)}, nil))
	}
	device := map[string]any{
		"driver": "virtio-net-pci", "id": nicID(n.ID), "netdev": netID(n.ID), "mac": n.MAC, "bus": fmt.Sprintf("port%d", port), "romfile": "",
	}
	if n.MTU != 0 {
		device["host_mtu"] = n.MTU
	}
	if err := c.Do(ctx, "device_add", device, nil); err != nil {
		return err
	}
	return m.noteNIC(-1, n)
}

// dropNIC implements Driver.DropNIC. The lock is held, but not while the guest is waited for.
func (m *machine) dropNIC(ctx context.Context, id string) error {
	if _, tried := m.rec.Ports[nicID(id)]; !tried && m.indexOfNIC(id) < 0 {
		return nil
	}
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	here, err := m.unplug(ctx, c, nicID(id))
	if err != nil {
		return err
	}
	if here {
		return compute.ErrHeld
	}
	if err := dropNet(ctx, c, id); err != nil {
		return err
	}
	m.setPort(nicID(id), -1)
	if i := m.indexOfNIC(id); i >= 0 {
		return m.noteNIC(i, compute.NIC{})
	}
	return m.rec.save(m.dir)
}

// dropNet makes QEMU let go of a card's tap, if it has it.
func dropNet(ctx context.Context, c *qmp.Client, nic string) error {
	err := c.Do(ctx, "netdev_del", map[string]any{"id": netID(nic)}, nil)
	if err != nil && strings.Contains(err.Error(), "not found") {
		return nil
	}
	return err
}
