package kvmprobe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of Linux's KVM interface (include/uapi/linux/kvm.h).
const (
	kvmGetAPIVersion          = 0xae00
	kvmCreateVM               = 0xae01
	kvmGetMmapSize            = 0xae04
	kvmGetSupportedCPU        = 0xc008ae05
	kvmCreateVCPU             = 0xae41
	kvmSetMemory              = 0x4020ae46
	kvmSetTSSAddr             = 0xae47
	kvmSetIdentityMap         = 0x4008ae48
	kvmRun                    = 0xae80
	kvmSetRegs                = 0x4090ae82
	kvmGetSregs               = 0x8138ae83
	kvmSetSregs               = 0x4138ae84
	kvmSetCPUID2              = 0x4008ae90
	exitIO                    = 2
	exitReasonAt              = 8  // in struct kvm_run
	exitDetailAt              = 32 // its union
	memorySize                = 2 << 20
	donePort                  = 0x10
	maxCPUIDEntries           = 256
	cpuidEntrySize            = 40
	cpuidHeaderSize           = 8
	loops                     = 10_000_000
	codeAt                    = 0x1000
	pml4At                    = 0x2000
	pdptAt                    = 0x3000
	pdAt                      = 0x4000
	gdtAt                     = 0x5000
	tssAt                     = 0x6000
	idtAt                     = 0x7000
	kernelStack               = 0xf000
	interruptStack            = 0x11000
	userStack                 = 0x18000
	userData                  = 0x19000
	userAt                    = 0x1200
	breakpointAt              = 0x1300
	syscallAt                 = 0x1340
	sseWord            uint32 = 0x12345678
)

type segment struct {
	base                                                  uint64
	limit                                                 uint32
	selector                                              uint16
	typ, present, dpl, db, s, l, g, avl, unusable, padded uint8
}

type table struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

type sregs struct {
	cs, ds, es, fs, gs, ss, tr, ldt     segment
	gdt, idt                            table
	cr0, cr2, cr3, cr4, cr8, efer, apic uint64
	interrupts                          [4]uint64
}

type regs struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8to15                                 [8]uint64
	rip, rflags                            uint64
}

// guest is a program and how the processor begins it. It ends with OUT of mark to donePort.
type guest struct {
	name  string
	mark  byte
	setup func(mem []byte, s *sregs, r *regs)
	check func(mem []byte) error
}

var guests = []guest{
	{name: "breakpoint, ring 3 and an SSE store in 64-bit mode", mark: 'L', setup: longMode, check: func(mem []byte) error {
		if got := binary.LittleEndian.Uint32(mem[userData:]); got != sseWord {
			return fmt.Errorf("an SSE store wrote %#x, not %#x", got, sseWord)
		}
		return nil
	}},
	{name: "counting in real mode", mark: 'R', setup: realMode},
}

func imm32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func realMode(mem []byte, s *sregs, r *regs) {
	copy(mem[codeAt:], slices.Concat(
		[]byte{0x66, 0xb9}, imm32(loops), // mov ecx, loops
		[]byte{0x66, 0x49, 0x75, 0xfc},          // dec ecx; jnz back
		[]byte{0xb0, 'R', 0xe6, donePort, 0xf4}, // mov al, mark; out; hlt
	))
	s.cs.base, s.cs.selector = 0, 0
	r.rip, r.rsp = codeAt, kernelStack
}

func longMode(mem []byte, s *sregs, r *regs) {
	le := binary.LittleEndian
	copy(mem[codeAt:], slices.Concat(
		[]byte{0xcc},       // int3, whose handler is an iretq
		[]byte{0x6a, 0x1b}, // push user ss
		[]byte{0x68}, imm32(userStack),
		[]byte{0x6a, 0x02}, // push rflags
		[]byte{0x6a, 0x23}, // push user cs
		[]byte{0x68}, imm32(userAt),
		[]byte{0x48, 0xcf}, // iretq
	))
	copy(mem[userAt:], slices.Concat(
		[]byte{0xb8}, imm32(sseWord), // mov eax, word
		[]byte{0x66, 0x0f, 0x6e, 0xc0},                  // movd xmm0, eax
		[]byte{0x0f, 0x11, 0x04, 0x25}, imm32(userData), // movups [data], xmm0
		[]byte{0xcd, 0x80, 0x0f, 0x0b}, // int 0x80; ud2
	))
	copy(mem[breakpointAt:], []byte{0x48, 0xcf})                   // iretq
	copy(mem[syscallAt:], []byte{0xb0, 'L', 0xe6, donePort, 0xf4}) // mov al, mark; out; hlt
	le.PutUint64(mem[pml4At:], pdptAt|7)                           // present, writable, user
	le.PutUint64(mem[pdptAt:], pdAt|7)
	le.PutUint64(mem[pdAt:], 0x87) // one page of 2 MiB
	for i, descriptor := range []uint64{
		0,
		0x00af9b000000ffff,             // 08 kernel code
		0x00cf93000000ffff,             // 10 kernel data
		0x00cff3000000ffff,             // 18 user data
		0x00affb000000ffff,             // 20 user code
		0x00008b0000000067 | tssAt<<16, // 28 TSS
		0,
	} {
		le.PutUint64(mem[gdtAt+8*i:], descriptor)
	}
	le.PutUint64(mem[tssAt+4:], interruptStack)
	le.PutUint16(mem[tssAt+0x66:], 0x68) // no I/O map
	gate := func(n int, to uint64) {
		le.PutUint64(mem[idtAt+16*n:], to&0xffff|0x08<<16|0xee00<<32|to>>16<<48)
	}
	gate(3, breakpointAt)
	gate(0x80, syscallAt)

	flat := segment{limit: 0xffffffff, present: 1, s: 1, g: 1}
	s.cs, s.ds = flat, flat
	s.cs.selector, s.cs.typ, s.cs.l = 0x08, 0xb, 1
	s.ds.selector, s.ds.typ, s.ds.db = 0x10, 0x3, 1
	s.es, s.fs, s.gs, s.ss = s.ds, s.ds, s.ds, s.ds
	s.tr = segment{base: tssAt, limit: 0x67, selector: 0x28, typ: 0xb, present: 1}
	s.gdt = table{base: gdtAt, limit: 7*8 - 1}
	s.idt = table{base: idtAt, limit: 0x81*16 - 1}
	s.cr0 = 0x80050033 // PG AM WP NE ET MP PE
	s.cr3 = pml4At
	s.cr4 = 0x620  // OSXMMEXCPT OSFXSR PAE
	s.efer = 0x500 // LMA LME
	r.rip, r.rsp = codeAt, kernelStack
}

func ioctl(fd int, request uintptr, arg uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// run runs the guest to its end. Everything is left to the process's exit.
func (g guest) run(device string) error {
	kvm, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if v, err := ioctl(kvm, kvmGetAPIVersion, 0); err != nil || v != 12 {
		return fmt.Errorf("version of the KVM interface is %d, not 12 (%v)", v, err)
	}
	vm, err := ioctl(kvm, kvmCreateVM, 0)
	if err != nil {
		return fmt.Errorf("create VM: %w", err)
	}
	// Intel processors without unrestricted guests need three pages outside of memory for real mode.
	identity := uint64(0xfffbc000)
	if _, err := ioctl(vm, kvmSetIdentityMap, uintptr(unsafe.Pointer(&identity))); err != nil {
		return fmt.Errorf("set identity map: %w", err)
	}
	if _, err := ioctl(vm, kvmSetTSSAddr, 0xfffbd000); err != nil {
		return fmt.Errorf("set TSS: %w", err)
	}
	mem, err := unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	region := struct {
		slot, flags       uint32
		guest, size, ours uint64
	}{size: memorySize, ours: uint64(uintptr(unsafe.Pointer(&mem[0])))}
	if _, err := ioctl(vm, kvmSetMemory, uintptr(unsafe.Pointer(&region))); err != nil {
		return fmt.Errorf("set memory: %w", err)
	}
	cpu, err := ioctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return fmt.Errorf("create processor: %w", err)
	}
	size, err := ioctl(kvm, kvmGetMmapSize, 0)
	if err != nil || size < exitDetailAt+256 {
		return fmt.Errorf("size of the shared page is %d: %w", size, err)
	}
	shared, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("shared page: %w", err)
	}
	features := make([]byte, cpuidHeaderSize+maxCPUIDEntries*cpuidEntrySize)
	binary.NativeEndian.PutUint32(features, maxCPUIDEntries)
	if _, err := ioctl(kvm, kvmGetSupportedCPU, uintptr(unsafe.Pointer(&features[0]))); err != nil {
		return fmt.Errorf("get processor features: %w", err)
	}
	if _, err := ioctl(cpu, kvmSetCPUID2, uintptr(unsafe.Pointer(&features[0]))); err != nil {
		return fmt.Errorf("set processor features: %w", err)
	}
	var s sregs
	if _, err := ioctl(cpu, kvmGetSregs, uintptr(unsafe.Pointer(&s))); err != nil {
		return fmt.Errorf("get registers: %w", err)
	}
	r := regs{rflags: 2}
	g.setup(mem, &s, &r)
	if _, err := ioctl(cpu, kvmSetSregs, uintptr(unsafe.Pointer(&s))); err != nil {
		return fmt.Errorf("set system registers: %w", err)
	}
	if _, err := ioctl(cpu, kvmSetRegs, uintptr(unsafe.Pointer(&r))); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	for { // Go's own signals interrupt it
		if _, err = ioctl(cpu, kvmRun, 0); !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := g.judge(shared); err != nil || g.check == nil {
		return err
	}
	return g.check(mem)
}

// judge looks at why the guest gave up the processor.
func (g guest) judge(shared []byte) error {
	ne := binary.NativeEndian
	detail := shared[exitDetailAt:]
	switch reason := ne.Uint32(shared[exitReasonAt:]); reason {
	case exitIO: // direction, size, port, count, offset of the data
		at := ne.Uint64(detail[8:])
		if detail[0] != 1 || ne.Uint16(detail[2:]) != donePort || at >= uint64(len(shared)) || shared[at] != g.mark {
			return errors.New("it wrote to a wrong port")
		}
		return nil
	case 8:
		return errors.New("it crashed (KVM_EXIT_SHUTDOWN)")
	case 9:
		return fmt.Errorf("the processor refused it (KVM_EXIT_FAIL_ENTRY %#x)", ne.Uint64(detail))
	case 17:
		return fmt.Errorf("KVM could not go on (KVM_EXIT_INTERNAL_ERROR %d)", ne.Uint32(detail))
	default:
		return fmt.Errorf("it stopped for reason %d", reason)
	}
}
