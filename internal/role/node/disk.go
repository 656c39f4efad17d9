package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
	"karri.dev/internal/nodeapi"
)

// keeper keeps what the agent must still know after a restart.
type keeper interface {
	desired() (*nodeapi.Desired, error) // empty if there never was one
	setDesired(*nodeapi.Desired) error
	instance(id string) local
	setInstance(id string, r record) error
	removeInstance(id string) error
}

// disk is the keeper of a real node: desired.json, and instances/ID.json for each instance.
type disk struct{ dir string }

// record is what is known of an instance that neither the zone nor the driver knows.
type record struct {
	// Started: the machine was started since it was last wanted on. A started machine that is off was powered
	// off by its guest; one that is not started has to be.
	Started bool `json:"started"`
	Reboots int  `json:"reboots"` // RebootInstances calls carried out
	// Restarts is how often the machine was made anew because that was wanted.
	Restarts int `json:"restarts,omitempty"`
}

// local is a record as read; known says that there is one.
type local struct {
	record
	known bool
}

func (d disk) desiredPath() string { return filepath.Join(d.dir, "desired.json") }

func (d disk) instancePath(id string) string {
	return filepath.Join(d.dir, "instances", filepath.Base(id)+".json")
}

// desired reads the last desired state; a node that never had one has an empty one.
func (d disk) desired() (*nodeapi.Desired, error) {
	if err := os.MkdirAll(filepath.Join(d.dir, "instances"), 0o700); err != nil {
		return nil, err
	}
	out := new(nodeapi.Desired)
	data, err := os.ReadFile(d.desiredPath())
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's desired state: %w", err)
	}
	return out, nil
}

func (d disk) setDesired(s *nodeapi.Desired) error {
	data, err := json.Marshal(withoutKeys(s))
	if err != nil {
		return err
	}
	return durable.WriteFile(d.desiredPath(), data, 0o600)
}

// withoutKeys gives a desired state without the keys of volumes, which no disk gets: after a restart the zone says them
// again, and machines that need them wait for that.
func withoutKeys(s *nodeapi.Desired) *nodeapi.Desired {
	out := *s
	out.Instances = slices.Clone(s.Instances)
	for i := range out.Instances {
		m := &out.Instances[i].Machine
		m.Disks = slices.Clone(m.Disks)
		for j := range m.Disks {
			m.Disks[j].Key = ""
		}
	}
	return &out
}

// keyless says that a key of the machine's volumes is not known.
func keyless(m compute.Machine) bool {
	return slices.ContainsFunc(m.Disks, func(d compute.Disk) bool { return d.Encrypted && d.Key == "" })
}

// instance reads an instance's record. An unreadable one counts as unknown.
func (d disk) instance(id string) local {
	data, err := os.ReadFile(d.instancePath(id))
	if err != nil {
		return local{}
	}
	l := local{known: true}
	if json.Unmarshal(data, &l.record) != nil {
		return local{}
	}
	return l
}

func (d disk) setInstance(id string, r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(d.instancePath(id), data, 0o600)
}

func (d disk) removeInstance(id string) error {
	if err := os.Remove(d.instancePath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// MarkStopped notes that every machine of the node in dir was stopped from outside, by `karri down`: they
// are to be started again by the next agent, and were not powered off by their guests.
func MarkStopped(dir string) error {
	d := disk{filepath.Join(dir, "agent")}
	files, err := filepath.Glob(d.instancePath("*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		id := filepath.Base(f[:len(f)-len(".json")])
		r := d.instance(id).record
		r.Started = false
		if err := d.setInstance(id, r); err != nil {
			return err
		}
	}
	return nil
}

// Memory is what a simulated node keeps in place of files. Like a disk it outlives the node's process: give
// it to the next Node of the same host.
type Memory struct {
	mu        sync.Mutex
	last      *nodeapi.Desired
	instances map[string]record
}

func (m *Memory) desired() (*nodeapi.Desired, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		return new(nodeapi.Desired), nil
	}
	return m.last, nil
}

func (m *Memory) setDesired(d *nodeapi.Desired) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = d
	return nil
}

func (m *Memory) instance(id string) local {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.instances[id]
	return local{r, ok}
}

func (m *Memory) setInstance(id string, r record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances == nil {
		m.instances = map[string]record{}
	}
	m.instances[id] = r
	return nil
}

func (m *Memory) removeInstance(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.instances, id)
	return nil
}

// Empty says that nothing is kept of any instance.
func (m *Memory) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.instances) == 0
}
