package instancetype

import "strconv"

// size is a size of a family: vCPUs and memory in MiB.
type size struct {
	name        string
	vcpus, mem  int
	disk        int // GiB
	performance string
}

// Builtin gives the built-in types.
func Builtin() []Type {
	burst := func(one int) []size { // vCPUs of the small sizes
		return []size{
			{"nano", one, 512, 2, "Up to 5 Gigabit"},
			{"micro", one, 1024, 4, "Up to 5 Gigabit"},
			{"small", one, 2048, 8, "Up to 5 Gigabit"},
			{"medium", 2, 4096, 10, "Up to 5 Gigabit"},
			{"large", 2, 8192, 20, "Up to 5 Gigabit"},
			{"xlarge", 4, 16384, 40, "Up to 5 Gigabit"},
			{"2xlarge", 8, 32768, 80, "Up to 5 Gigabit"},
		}
	}
	// scale makes the sizes of a family that has so much memory (MiB) for a vCPU.
	scale := func(perVCPU int, vcpus ...int) []size {
		var out []size
		for _, n := range vcpus {
			name, perf := "large", "Up to 10 Gigabit"
			switch {
			case n == 4:
				name = "xlarge"
			case n > 4:
				name = strconv.Itoa(n/4) + "xlarge"
			}
			if n > 16 {
				perf = "10 Gigabit"
			}
			out = append(out, size{name, n, n * perVCPU, 10 * n, perf})
		}
		return out
	}
	var types []Type
	add := func(family string, base Type, sizes []size) {
		for _, s := range sizes {
			t := base
			t.Name, t.VCPUs, t.MemoryMiB, t.DiskGiB, t.Network = family+"."+s.name, s.vcpus, s.mem, s.disk, s.performance
			if s.vcpus == 1 {
				t.Threads = 1
			}
			t.FreeTier = t.Name == "t2.micro" || t.Name == "t3.micro"
			types = append(types, t)
		}
	}
	nitro := Type{Threads: 2, Hypervisor: "nitro"}
	bursty := Type{Threads: 2, Hypervisor: "nitro", Burstable: true}
	old := Type{Threads: 1, Hypervisor: "xen", Previous: true}
	add("t2", Type{Threads: 1, Hypervisor: "xen", Burstable: true}, burst(1))
	add("t3", bursty, burst(2))
	add("t3a", bursty, burst(2))
	for _, f := range []string{"m5", "m6i"} {
		add(f, nitro, scale(4096, 2, 4, 8, 16, 32, 48, 64, 96))
	}
	add("c5", nitro, scale(2048, 2, 4, 8, 16, 36, 48, 72, 96))
	add("c6i", nitro, scale(2048, 2, 4, 8, 16, 32, 48, 64, 96))
	for _, f := range []string{"r5", "r6i"} {
		add(f, nitro, scale(8192, 2, 4, 8, 16, 32, 48, 64, 96))
	}
	add("t1", old, []size{{"micro", 1, 627, 4, "Very Low"}})
	add("m1", old, []size{
		{"small", 1, 1740, 8, "Low"},
		{"medium", 1, 3788, 10, "Moderate"},
		{"large", 2, 7680, 20, "Moderate"},
		{"xlarge", 4, 15360, 40, "High"},
	})
	add("c1", old, []size{{"medium", 2, 1740, 10, "Moderate"}, {"xlarge", 8, 7168, 40, "High"}})
	return types
}
