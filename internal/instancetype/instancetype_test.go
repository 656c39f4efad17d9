package instancetype

import (
	"encoding/json"
	"testing"
)

func TestBuiltin(t *testing.T) {
	types := Builtin()
	raw, err := json.Marshal(types)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(string(raw)); err != nil {
		t.Fatal("the built-in table does not pass its own check:", err)
	}
	table := newTable(types)
	if len(table.All()) != len(types) {
		t.Error("a name twice")
	}
	for _, c := range []struct {
		name        string
		vcpus, mem  int
		cores, thrd int
	}{
		{"t2.nano", 1, 512, 1, 1},
		{"t3.nano", 2, 512, 1, 2},
		{"m5.24xlarge", 96, 393216, 48, 2},
		{"c5.9xlarge", 36, 73728, 18, 2},
		{"r5.large", 2, 16384, 1, 2},
	} {
		got := table.Get(c.name)
		if got == nil || got.VCPUs != c.vcpus || got.MemoryMiB != c.mem || got.Cores() != c.cores || got.ThreadsPerCore() != c.thrd {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestParse(t *testing.T) {
	edits, err := Parse(`[{"name":"t3.nano","disabled":true},{"name":"k1.tiny","vcpus":1,"memory_mib":128,"disk_gib":1},{"name":"t2.nano","vcpus":4,"memory_mib":99,"disk_gib":9}]`)
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(append(Builtin(), edits...))
	if table.Get("t3.nano") != nil || table.Get("k1.tiny").MemoryMiB != 128 || table.Get("t2.nano").VCPUs != 4 {
		t.Error("edits are not in force")
	}
	for _, bad := range []string{
		``, `{}`, `[{"name":"x"}]`, `[{"name":"a.b","vcpus":0,"memory_mib":128,"disk_gib":1}]`, `[{"name":"a.b","vcpus":1,"memory_mib":1,"disk_gib":1}]`,
		`[{"name":"a.b","vcpus":1,"memory_mib":128}]`, `[{"name":"a.b","vcpus":3,"memory_mib":128,"disk_gib":1,"threads_per_core":2}]`,
	} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`[{"name":"k1.tiny","vcpus":1,"memory_mib":128,"disk_gib":1}]`)
	f.Fuzz(func(t *testing.T, s string) { Parse(s) })
}
