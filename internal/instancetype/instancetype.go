// Package instancetype is the catalogue of instance types: a built-in table with the sizes of AWS's own t,
// m, c and r families, which the administrator edits with the setting named Setting.
package instancetype

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"sync/atomic"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Setting is the name of the cloud setting that edits the catalogue: a JSON list of types, each of which
// replaces the built-in one of its name, adds one, or (with "disabled": true) takes it away.
const Setting = "instance-types"

// Type is one instance type.
type Type struct {
	Name       string `json:"name"`
	VCPUs      int    `json:"vcpus"`
	MemoryMiB  int    `json:"memory_mib"`
	DiskGiB    int    `json:"disk_gib"` // root disk of instance-store instances, unless their image is larger
	Threads    int    `json:"threads_per_core,omitempty"`
	Network    string `json:"network,omitempty"`
	Burstable  bool   `json:"burstable,omitempty"`
	Previous   bool   `json:"previous_generation,omitempty"`
	Disabled   bool   `json:"disabled,omitempty"`
	FreeTier   bool   `json:"free_tier,omitempty"`
	Hypervisor string `json:"hypervisor,omitempty"` // as AWS says: "nitro", "xen"
}

// Cores is the number of cores; each runs ThreadsPerCore vCPUs.
func (t *Type) Cores() int { return max(1, t.VCPUs/t.ThreadsPerCore()) }

// ThreadsPerCore is 1 or 2.
func (t *Type) ThreadsPerCore() int { return max(1, t.Threads) }

// MaxInterfaces is how many network interfaces an instance of the type can have: AWS's number for types of
// its size.
func (t *Type) MaxInterfaces() int {
	switch {
	case t.VCPUs >= 64:
		return 15
	case t.VCPUs >= 16:
		return 8
	case t.VCPUs >= 4:
		return 4
	case t.MemoryMiB <= 1024:
		return 2
	}
	return 3
}

// AddressesPerInterface is how many private IPv4 addresses each of them can have.
func (t *Type) AddressesPerInterface() int {
	switch {
	case t.VCPUs >= 64:
		return 50
	case t.VCPUs >= 16:
		return 30
	case t.VCPUs >= 4:
		return 15
	case t.MemoryMiB <= 1024:
		return 2
	case t.MemoryMiB <= 2048:
		return 4
	case t.MemoryMiB <= 4096:
		return 6
	}
	return 10
}

// Table is the catalogue at one moment; immutable.
type Table struct {
	types  []Type // by name
	byName map[string]*Type
}

// Get gives the type with this name, or nil.
func (t *Table) Get(name string) *Type { return t.byName[name] }

// All gives every type in order of name. The slice must not be changed.
func (t *Table) All() []Type { return t.types }

// Catalogue gives the Table that is in force. It parses a setting only when it changed.
type Catalogue struct{ last atomic.Pointer[cached] }

type cached struct {
	setting *resource.Setting
	table   *Table
}

// New makes a Catalogue.
func New() *Catalogue { return &Catalogue{} }

// At gives the table at a snapshot or in a transaction.
func (c *Catalogue) At(r store.Reader) (*Table, error) {
	setting := store.Settings.Get(r, Setting)
	if last := c.last.Load(); last != nil && last.setting == setting {
		return last.table, nil
	}
	types := Builtin()
	if setting != nil {
		edits, err := Parse(setting.Value)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", Setting, err)
		}
		types = append(types, edits...)
	}
	t := newTable(types)
	c.last.Store(&cached{setting, t})
	return t, nil
}

// newTable makes a table; of types with one name the last counts.
func newTable(types []Type) *Table {
	last := map[string]Type{}
	for _, t := range types {
		last[t.Name] = t
	}
	table := &Table{byName: map[string]*Type{}}
	for _, t := range last {
		if !t.Disabled {
			table.types = append(table.types, t)
		}
	}
	sort.Slice(table.types, func(i, j int) bool { return table.types[i].Name < table.types[j].Name })
	for i := range table.types {
		table.byName[table.types[i].Name] = &table.types[i]
	}
	return table
}

// Parse reads a value of the setting and checks every type in it.
func Parse(value string) ([]Type, error) {
	var types []Type
	if err := json.Unmarshal([]byte(value), &types); err != nil {
		return nil, err
	}
	shape := regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}\.[a-z0-9-]{1,16}$`)
	for i := range types {
		t := &types[i]
		switch {
		case !shape.MatchString(t.Name):
			return nil, fmt.Errorf("type %q: a name looks like t3.nano", t.Name)
		case t.Disabled:
		case t.VCPUs < 1 || t.VCPUs > 448:
			return nil, fmt.Errorf("type %s: %d vCPUs", t.Name, t.VCPUs)
		case t.MemoryMiB < 64 || t.MemoryMiB > 24<<20:
			return nil, fmt.Errorf("type %s: %d MiB of memory", t.Name, t.MemoryMiB)
		case t.DiskGiB < 1 || t.DiskGiB > 64<<10:
			return nil, fmt.Errorf("type %s: %d GiB of disk", t.Name, t.DiskGiB)
		case t.Threads < 0 || t.Threads > 2 || t.VCPUs%t.ThreadsPerCore() != 0:
			return nil, fmt.Errorf("type %s: %d threads per core", t.Name, t.Threads)
		}
	}
	return types, nil
}
