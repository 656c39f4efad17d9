package tiny

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"karri.dev/internal/image/tiny/internal/deb"
)

var built struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// files gives the image's files, built once a test run.
func files(t testing.TB) Options {
	t.Helper()
	for _, p := range []string{"apt-get", "dpkg-deb", "mke2fs"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs Debian's %s", p)
		}
	}
	built.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "karri-tiny-test-")
		if built.err == nil {
			built.err = Build(context.Background(), options(built.dir))
		}
	})
	if errors.Is(built.err, deb.ErrUnavailable) {
		t.Skip(built.err)
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return options(built.dir)
}

func options(dir string) Options {
	return Options{Out: dir + "/tiny.raw", KernelOut: dir + "/vmlinuz", RamdiskOut: dir + "/initrd", Log: slog.New(slog.DiscardHandler)}
}

// guestVM is a QEMU under test. Its network is QEMU's own, without a way out; the metadata service and SSH
// go over loopback.
type guestVM struct {
	t       testing.TB
	cmd     *exec.Cmd
	console string
	monitor string
	ssh     string
	exited  chan struct{}
}

func start(t testing.TB, metadata string, args ...string) *guestVM {
	t.Helper()
	for _, p := range []string{"qemu-system-x86_64", "busybox"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guestVM{t: t, console: t.TempDir() + "/console", monitor: t.TempDir() + "/m", ssh: l.Addr().String(), exited: make(chan struct{})}
	l.Close()
	host, port, _ := net.SplitHostPort(metadata)
	g.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-accel", "tcg,tb-size=32", "-M", "q35", "-m", "128", "-nodefaults", "-display", "none",
		"-serial", "file:" + g.console, "-monitor", "unix:" + g.monitor + ",server=on,wait=off", "-device", "virtio-rng-pci",
		"-netdev", "user,id=n,restrict=on,net=169.254.169.0/24,host=169.254.169.2,hostfwd=tcp:" + g.ssh + "-:22" +
			",guestfwd=tcp:169.254.169.254:80-cmd:busybox nc " + host + " " + port,
		"-device", "virtio-net-pci,netdev=n,romfile=",
	}, args...)...)
	var stderr bytes.Buffer
	g.cmd.Stderr = &stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.cmd.Wait(); close(g.exited) }()
	t.Cleanup(func() {
		g.end()
		if t.Failed() {
			t.Logf("qemu: %s\nconsole:\n%s", stderr.String(), g.output())
		}
	})
	return g
}

func (g *guestVM) end() {
	g.cmd.Process.Kill()
	<-g.exited
}

func (g *guestVM) output() string {
	b, _ := os.ReadFile(g.console)
	return strings.ReplaceAll(string(b), "\r", "")
}

// await waits until the console has said want n times.
func (g *guestVM) await(want string, n int) {
	g.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Count(g.output(), want) >= n {
			return
		}
		select {
		case <-g.exited:
			g.t.Fatalf("qemu ended before the console said %q", want)
		default:
		}
	}
	g.t.Fatalf("the console never said %q", want)
}

func (g *guestVM) tell(command string) {
	g.t.Helper()
	c, err := net.Dial("unix", g.monitor)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, command)
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	for b := make([]byte, 4096); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func (g *guestVM) run(user string, key ssh.Signer, command string) (string, ssh.PublicKey, error) {
	var host ssh.PublicKey
	c, err := ssh.Dial("tcp", g.ssh, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, Timeout: time.Minute,
		// Dropbear 2022.83 offers RSA also without such a key, and then dies of it; OpenSSH prefers this one.
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback:   func(_ string, _ net.Addr, k ssh.PublicKey) error { host = k; return nil },
	})
	if err != nil {
		return "", nil, err
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		return "", nil, err
	}
	out, err := s.CombinedOutput(command)
	return strings.TrimSpace(string(out)), host, err
}

// metadata is an IMDSv2 service with the least that the guest asks for.
func metadata(t testing.TB, key, userData string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			http.Error(w, "ttl", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, "sesame")
	})
	get := func(path, body string) {
		mux.HandleFunc("GET /latest/"+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "sesame" {
				http.Error(w, "token", http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, body)
		})
	}
	get("meta-data/instance-id", "i-0123456789abcdef0")
	get("meta-data/public-keys/0/openssh-key", key)
	get("user-data", userData)
	get("meta-data/network/interfaces/macs/52:54:00:12:34:56/ipv6s", "2001:db8::5\n2001:db8::6") // QEMU's default
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func newKey(t *testing.T) (ssh.Signer, string) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey()))) + " test key"
}

func TestBootFromDisk(t *testing.T) {
	o := files(t)
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if out, err := exec.Command("cp", "--sparse=always", o.Out, disk).CombinedOutput(); err != nil {
		t.Fatalf("cp: %s", out)
	}
	signer, public := newKey(t)
	service := metadata(t, public, "#!/bin/sh\necho user data ran as $(id -un)\necho once >> /root/ran\n")
	g := start(t, service, "-drive", "file="+disk+",if=virtio,format=raw,cache=unsafe")

	g.await("karri-tiny: user data done", 1)
	for _, want := range []string{"karri-tiny: userland up", "BEGIN SSH HOST KEY FINGERPRINTS", "user data ran as root"} {
		if !strings.Contains(g.output(), want) {
			t.Errorf("the console did not say %q", want)
		}
	}
	out, host, err := g.run("karri", signer, "id -un; echo kept > ~/file; su -c 'id -un; echo kept > /root/file; sync'; hostname")
	if err != nil || !strings.HasPrefix(out, "karri\nroot\n") {
		t.Fatalf("as karri: %q, %v", out, err)
	}
	if !strings.Contains(g.output(), ssh.FingerprintSHA256(host)) {
		t.Errorf("the console does not show the fingerprint %s", ssh.FingerprintSHA256(host))
	}
	stranger, _ := newKey(t)
	if _, _, err := g.run("root", stranger, "id"); err == nil {
		t.Error("a stranger's key was let in")
	}

	g.tell("sendkey ctrl-alt-delete")
	g.await("karri-tiny: ready", 2)
	out, again, err := g.run("root", signer, "cat /root/file /home/karri/file /root/ran")
	if err != nil || out != "kept\nkept\nonce" {
		t.Errorf("after the reboot: %q, %v", out, err)
	}
	if again != nil && !bytes.Equal(host.Marshal(), again.Marshal()) {
		t.Error("the host key changed over a reboot")
	}

	g.tell("system_powerdown")
	select {
	case <-g.exited:
	case <-time.After(time.Minute):
		t.Fatal("the guest did not power off")
	}
	fsck, err := exec.Command("sh", "-c", fmt.Sprintf("e2fsck -fn '%s?offset=%d'", disk, stateStart)).CombinedOutput()
	if err != nil {
		t.Errorf("the disk is not clean: %s", fsck)
	}
}

func TestBootByKernelAndRamdisk(t *testing.T) {
	o := files(t)
	signer, public := newKey(t)
	g := start(t, metadata(t, public, "no script"), "-kernel", o.KernelOut, "-initrd", o.RamdiskOut, "-append", CommandLine)
	g.await("karri-tiny: ready", 1)
	if out, _, err := g.run("root", signer, "id -un"); err != nil || out != "root" {
		t.Errorf("%q, %v", out, err)
	}
	// IPv6: addresses of the metadata service, and the router that QEMU's network advertises.
	six, _, err := g.run("root", signer, "for i in $(seq 30); do ip -6 route | grep -q default && break; sleep 1; done; ip -6 addr; ip -6 route")
	for _, want := range []string{"inet6 2001:db8::5/128", "inet6 2001:db8::6/128", "inet6 fe80::", "default via fe80::"} {
		if err != nil || !strings.Contains(six, want) {
			t.Errorf("no %q in %s, %v", want, six, err)
		}
	}
	g.tell("system_powerdown")
	select {
	case <-g.exited:
	case <-time.After(time.Minute):
		t.Fatal("the guest did not power off")
	}
}

func TestSameBytes(t *testing.T) {
	a, b := files(t), options(t.TempDir())
	if err := Build(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, p := range [][2]string{{a.Out, b.Out}, {a.KernelOut, b.KernelOut}, {a.RamdiskOut, b.RamdiskOut}} {
		x, errX := os.ReadFile(p[0])
		y, errY := os.ReadFile(p[1])
		if err := errors.Join(errX, errY); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs from one build to the next", filepath.Base(p[0]))
		}
	}
	if i, err := os.Stat(a.Out); err != nil || i.Size() >= 64<<20 {
		t.Errorf("the image has %d bytes, want less than 64 MiB", i.Size())
	}
}

func TestBootCodeIsAssembled(t *testing.T) {
	for _, p := range []string{"as", "ld"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	dir := t.TempDir()
	cmd := fmt.Sprintf("as --32 boot.S -o %[1]s/o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary %[1]s/o -o %[1]s/bin", dir)
	if out, err := exec.Command("sh", "-c", cmd).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if b, _ := os.ReadFile(dir + "/bin"); !bytes.Equal(b, bootCode) {
		t.Error("boot.bin is not boot.S assembled: run go generate")
	}
}

// BenchmarkUserland measures the time from starting QEMU to the guest's first userland line.
func BenchmarkUserland(b *testing.B) {
	o := files(b)
	for name, args := range map[string][]string{
		"disk":   {"-drive", "file=" + o.Out + ",if=virtio,format=raw,snapshot=on"},
		"kernel": {"-kernel", o.KernelOut, "-initrd", o.RamdiskOut, "-append", CommandLine},
	} {
		for _, line := range []string{"userland up", "ready"} {
			b.Run(name+"/"+strings.ReplaceAll(line, " ", "-"), func(b *testing.B) {
				service := metadata(b, "ssh-ed25519 AAAA none", "")
				for b.Loop() {
					g := start(b, service, args...)
					g.await("karri-tiny: "+line, 1)
					g.end()
				}
			})
		}
	}
}
