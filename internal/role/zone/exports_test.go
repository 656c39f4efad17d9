package zone

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"

	"karri.dev/internal/block/serve"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// server is a server of volumes as the test plays it.
type server struct {
	mu      sync.Mutex
	grants  map[string]string
	refused map[string]string
	down    bool
	lost    chan struct{}
}

func newServer() *server { return &server{lost: make(chan struct{}, 1)} }

func (s *server) Set(_ context.Context, grants []serve.Grant) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("down")
	}
	s.grants = map[string]string{}
	for _, g := range grants {
		if s.refused[g.Volume] == "" {
			s.grants[g.Volume] = g.Node
		}
	}
	return s.refused, nil
}

func (s *server) Lost() <-chan struct{} { return s.lost }

func (s *server) has(want map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Equal(s.grants, want)
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// attached makes a volume that the guest on node-1 has.
func (r *rig) attached() (p *peer, seen nodeapi.Observed) {
	p = r.connect("node-1", 4)
	r.launch("i-1")
	seen = nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn}
	r.report(p, seen)
	r.volume(resource.Volume{Type: "gp2", Attachment: &resource.VolumeAttachment{InstanceID: "i-1", Device: "/dev/sdf", State: resource.Attaching}})
	seen.Disks = []nodeapi.ObservedDisk{{Name: vol, SizeBytes: gib}}
	r.report(p, seen)
	return p, seen
}

func (p *peer) hasDisk(id string) bool {
	for _, i := range p.last().Instances {
		for _, d := range i.Machine.Disks {
			if d.Name == id {
				return true
			}
		}
	}
	return false
}

// TestServed: a node is told of a volume when it is served, and only its node is served.
func TestServed(t *testing.T) {
	inRig(t, Config{Storage: "10.0.0.2:8775"}, func(r *rig) {
		r.exports.set(func() { r.exports.refused = map[string]string{vol: "busy"} })
		p, _ := r.attached()
		if p.hasDisk(vol) && !r.exports.has(map[string]string{vol: "node-1"}) && r.get1().Attachment.State == resource.Attaching {
			t.Error("told of what is not served")
		}
		r.exports.set(func() { r.exports.refused = nil })
		r.rest()
		r.rest()
		if !r.exports.has(map[string]string{vol: "node-1"}) || !p.hasDisk(vol) || p.last().Storage != "10.0.0.2:8775" {
			t.Errorf("granted %v", r.exports.grants)
		}
		// A server that is away takes no disk from a guest.
		r.exports.set(func() { r.exports.down, r.exports.grants = true, nil })
		r.exports.lost <- struct{}{}
		r.rest()
		if !p.hasDisk(vol) {
			t.Error("the disk was taken away")
		}
		r.exports.set(func() { r.exports.down = false })
		r.rest()
		if !r.exports.has(map[string]string{vol: "node-1"}) {
			t.Errorf("after its end: %v", r.exports.grants)
		}
		// Detached, it is served no more once the guest has let go.
		r.edit(func(v *resource.Volume) { v.Attachment.State = resource.Detaching })
		if !r.exports.has(map[string]string{vol: "node-1"}) {
			t.Error("taken away before the guest has let go")
		}
		r.put(func(tx *store.Tx) error { return lifecycle.Detached(tx, r.get1()) })
		r.rest()
		if !r.exports.has(map[string]string{}) {
			t.Errorf("after it was detached: %v", r.exports.grants)
		}
	})
}

// TestTakenFromTheDead: force takes a volume from a node that is away, and only then, and only when it is served no more.
func TestTakenFromTheDead(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.attached()
		r.edit(func(v *resource.Volume) { v.Attachment.State = resource.Detaching })
		down := func(up bool) {
			r.put(func(tx *store.Tx) error {
				n := *store.Nodes.Get(tx, "node-1")
				n.Up = up
				return store.Nodes.Put(tx, &n)
			})
			r.rest()
		}
		down(false)
		if r.get1().Attachment == nil {
			t.Fatal("free without force")
		}
		r.exports.set(func() { r.exports.down = true })
		r.edit(func(v *resource.Volume) { v.Attachment.Force = true })
		if r.get1().Attachment == nil {
			t.Fatal("free while it is served")
		}
		r.exports.set(func() { r.exports.down = false })
		r.rest()
		r.rest()
		if v := r.get1(); v.Attachment != nil || v.State != resource.VolumeAvailable || !r.exports.has(map[string]string{}) {
			t.Errorf("%+v, served %v", v, r.exports.grants)
		}
	})
}
