// Package computetest checks that a compute driver keeps the contract of compute.Driver, with guests that
// behave in known ways.
package computetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/compute"
)

// Behaviour is what a guest does.
type Behaviour string

const (
	Obedient  Behaviour = "obedient"  // powers off when its power button is pressed
	Deaf      Behaviour = "deaf"      // does not
	PowersOff Behaviour = "poweroff"  // powers off by itself
	Restarts  Behaviour = "reboot"    // restarts by itself, again and again
	Talks     Behaviour = "talkative" // writes to its console without end
)

// Up is what a guest's console says when it is up.
const Up = "KARRI-UP"

// Harness makes a driver testable.
type Harness struct {
	// Open makes a driver over dir. It is called again, after Close, for the same dir.
	Open func(t *testing.T, dir string) compute.Driver
	// Machine gives a machine whose guest behaves so.
	Machine func(t *testing.T, id string, b Behaviour) compute.Machine
	// Act makes a guest that is up do what it does by itself; nil for guests that really do.
	Act func(d compute.Driver, id string, b Behaviour)
	// Crash kills the machine's hypervisor.
	Crash func(t *testing.T, d compute.Driver, id string)
	// Parallel says that the tests may run side by side.
	Parallel bool
}

// Patience is how long a guest may take to do anything on a slow and busy host.
const Patience = 40 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, *bench){
		"Unknown": unknown, "Refused": refused, "Stop": stop, "StopDeaf": stopDeaf, "StopAtOnce": stopAtOnce,
		"PowerOff": powerOff, "GuestRestarts": guestRestarts, "Reboot": reboot, "RebootDeaf": rebootDeaf,
		"Crash": crash, "Adoption": adoption, "Concurrent": concurrent, "Disks": disks, "NICs": nics,
	} {
		t.Run(name, func(t *testing.T) {
			if h.Parallel {
				t.Parallel()
			}
			b := &bench{Harness: h, dir: t.TempDir()}
			b.d = h.Open(t, b.dir)
			t.Cleanup(func() { b.cleanup(t) })
			test(t, b)
		})
	}
}

type bench struct {
	Harness
	dir string
	d   compute.Driver
}

const id = "i-0123456789abcdef0"

func (b *bench) cleanup(t *testing.T) {
	ctx := context.Background()
	list, err := b.d.List(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, s := range list {
		if err := b.d.Remove(ctx, s.ID); err != nil {
			t.Error(err)
		}
	}
	if list, _ := b.d.List(ctx); len(list) != 0 {
		t.Errorf("after Remove there is %v", list)
	}
	if err := b.d.Close(); err != nil {
		t.Error(err)
	}
}

func (b *bench) start(t *testing.T, behaviour Behaviour) compute.Status {
	t.Helper()
	if err := b.d.Start(t.Context(), b.Machine(t, id, behaviour), nil); err != nil {
		t.Fatal(err)
	}
	s := b.status(t, id)
	if s.State != compute.Running {
		t.Fatalf("started machine is %+v", s)
	}
	if b.Act != nil && behaviour == Deaf {
		b.Act(b.d, id, Deaf)
	}
	return s
}

func (b *bench) up(t *testing.T, behaviour Behaviour) compute.Status {
	t.Helper()
	s := b.start(t, behaviour)
	AwaitConsole(t, b.d, id, Up)
	if b.Act != nil {
		b.Act(b.d, id, behaviour)
	}
	return s
}

func (b *bench) status(t *testing.T, id string) compute.Status {
	t.Helper()
	return StatusOf(t, b.d, id)
}

// StatusOf gives what List says of one machine.
func StatusOf(t testing.TB, d compute.Driver, id string) compute.Status {
	t.Helper()
	list, err := d.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.ID == id {
			return s
		}
	}
	return compute.Status{ID: id, State: compute.Absent}
}

// Await polls until ok.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
	}
}

func (b *bench) await(t *testing.T, state compute.State) compute.Status {
	t.Helper()
	var s compute.Status
	Await(t, "state "+string(state), func() bool { s = b.status(t, id); return s.State == state })
	return s
}

func (b *bench) event(t *testing.T) {
	t.Helper()
	select {
	case <-b.d.Events():
	case <-time.After(Patience):
		t.Fatal("no event")
	}
}

func (b *bench) is(t *testing.T, state compute.State) compute.Status {
	t.Helper()
	s := b.status(t, id)
	if s.State != state {
		t.Fatalf("machine is %+v, not %s", s, state)
	}
	return s
}

func unknown(t *testing.T, b *bench) {
	ctx := t.Context()
	if err := b.d.Stop(ctx, id, time.Hour); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := b.d.Remove(ctx, id); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if err := b.d.Reboot(ctx, id, 0); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Reboot: %v", err)
	}
	if _, err := b.d.Console(ctx, id, 1); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Console: %v", err)
	}
	if b.d.Accel().Name == "" || b.d.Accel().Reason == "" {
		t.Errorf("Accel = %+v", b.d.Accel())
	}
}

func refused(t *testing.T, b *bench) {
	good := b.Machine(t, id, Deaf)
	for name, spoil := range map[string]func(*compute.Machine){
		"id":    func(m *compute.Machine) { m.ID = "../evil" },
		"uuid":  func(m *compute.Machine) { m.UUID = "x,y" },
		"vcpus": func(m *compute.Machine) { m.VCPUs = 0 },
		"taps":  func(m *compute.Machine) { m.NICs = []compute.NIC{{ID: "eni-1", MAC: "02:00:00:00:00:01"}} },
	} {
		m := good
		spoil(&m)
		if err := b.d.Start(t.Context(), m, nil); err == nil {
			t.Errorf("%s: started", name)
		}
	}
	if list, _ := b.d.List(t.Context()); len(list) != 0 {
		t.Errorf("refused machines left %v", list)
	}
}

func stop(t *testing.T, b *bench) {
	first := b.up(t, Obedient)
	if err := b.d.Start(t.Context(), b.Machine(t, id, Obedient), nil); err != nil {
		t.Errorf("second Start: %v", err)
	}
	if s := b.status(t, id); s.PID != first.PID || !s.StartedAt.Equal(first.StartedAt) {
		t.Errorf("second Start made of %+v %+v", first, s)
	}
	if err := b.d.Stop(t.Context(), id, Patience); err != nil {
		t.Fatal(err)
	}
	b.is(t, compute.Off)
	if err := b.d.Stop(t.Context(), id, Patience); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if got, err := b.d.Console(t.Context(), id, 1<<20); err != nil || len(got) == 0 {
		t.Errorf("console of a machine that is off: %d bytes, %v", len(got), err)
	}
	if got, err := b.d.Console(t.Context(), id, 7); err != nil || len(got) != 7 {
		t.Errorf("7 bytes of console: %q, %v", got, err)
	}
	if err := b.d.Reboot(t.Context(), id, 0); err == nil {
		t.Error("a machine that is off was rebooted")
	}
	b.start(t, Obedient) // again
}

func stopDeaf(t *testing.T, b *bench) {
	b.start(t, Deaf)
	if err := b.d.Stop(t.Context(), id, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	b.is(t, compute.Off)
}

func stopAtOnce(t *testing.T, b *bench) {
	b.start(t, Obedient)
	if err := b.d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	b.is(t, compute.Off)
	if err := b.d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.is(t, compute.Absent)
	b.start(t, Obedient) // the same id, all new
}

func powerOff(t *testing.T, b *bench) {
	b.start(t, PowersOff)
	if b.Act != nil {
		b.Act(b.d, id, PowersOff)
	}
	b.event(t)
	s := b.await(t, compute.Off)
	if s.PID != 0 || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	AwaitConsole(t, b.d, id, Up) // its last words are kept
}

func guestRestarts(t *testing.T, b *bench) {
	first := b.up(t, Restarts)
	Await(t, "a restart", func() bool {
		s := b.is(t, compute.Running)
		if s.PID != first.PID {
			t.Fatalf("another process: %+v, was %+v", s, first)
		}
		return s.Resets > 0
	})
}

func reboot(t *testing.T, b *bench) {
	first := b.up(t, Obedient)
	ended := make(chan error, 1)
	go func() { ended <- b.d.Reboot(t.Context(), id, Patience) }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			if s := b.is(t, compute.Running); s.PID != first.PID {
				t.Errorf("another process: %+v, was %+v", s, first)
			}
			Await(t, "a reset", func() bool { return b.is(t, compute.Running).Resets == 1 })
			return
		case <-time.After(20 * time.Millisecond):
			b.is(t, compute.Running) // never anything else
		}
	}
}

func rebootDeaf(t *testing.T, b *bench) {
	b.start(t, Deaf)
	for n, grace := range []time.Duration{50 * time.Millisecond, 0} {
		if err := b.d.Reboot(t.Context(), id, grace); err != nil {
			t.Fatal(err)
		}
		Await(t, "a reset", func() bool { return b.is(t, compute.Running).Resets == n+1 })
	}
	// A reboot under way gives way to a removal.
	ended := make(chan error, 1)
	go func() { ended <- b.d.Reboot(t.Context(), id, time.Hour) }()
	time.Sleep(50 * time.Millisecond)
	if err := b.d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("rebooted a removed machine")
	}
}

func crash(t *testing.T, b *bench) {
	b.start(t, Deaf)
	b.Crash(t, b.d, id)
	b.event(t)
	if s := b.await(t, compute.Failed); s.Reason == "" {
		t.Error("no reason")
	}
	if err := b.d.Start(t.Context(), b.Machine(t, id, Deaf), nil); err != nil {
		t.Fatal(err)
	}
	b.is(t, compute.Running)
}

// adoption restarts the driver around every state.
func adoption(t *testing.T, b *bench) {
	reopen := func() {
		t.Helper()
		if err := b.d.Close(); err != nil {
			t.Fatal(err)
		}
		b.d = b.Open(t, b.dir)
	}
	first := b.up(t, Obedient)
	reopen()
	if s := b.is(t, compute.Running); s.PID != first.PID || !s.StartedAt.Equal(first.StartedAt) {
		t.Errorf("adopted %+v, was %+v", s, first)
	}
	AwaitConsole(t, b.d, id, Up)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	err := b.d.Reboot(ctx, id, Patience) // asked, but nobody waits
	cancel()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	reopen()
	if err := b.d.Reboot(t.Context(), id, Patience); err != nil { // whether or not the first one came through
		t.Fatal(err)
	}
	if s := b.is(t, compute.Running); s.PID != first.PID {
		t.Errorf("another process: %+v, was %+v", s, first)
	}
	if err := b.d.Stop(t.Context(), id, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	reopen()
	b.is(t, compute.Off)
	b.start(t, Deaf)
	b.Crash(t, b.d, id)
	reopen()
	b.await(t, compute.Failed)
}

func concurrent(t *testing.T, b *bench) {
	m := b.Machine(t, id, Deaf)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := b.d.Start(t.Context(), m, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.is(t, compute.Running)
	for range 3 {
		wg.Go(func() {
			if err := b.d.Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := b.d.Stop(t.Context(), id, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.is(t, compute.Absent)
}

// AwaitConsole waits until the console holds want.
func AwaitConsole(t testing.TB, d compute.Driver, id, want string) {
	t.Helper()
	var last []byte
	defer func() {
		if t.Failed() {
			t.Logf("console: %s", last)
		}
	}()
	Await(t, fmt.Sprintf("%q on the console", want), func() bool {
		var err error
		if last, err = d.Console(context.Background(), id, 1<<20); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(last, []byte(want))
	})
}
