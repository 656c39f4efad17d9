// Package repo holds the repository to its own rules.
package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "karri.dev"
)

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// local gives a package's path inside the module.
func local(path string) string { return strings.TrimPrefix(path, module+"/") }

// layers, from the outside in: a package imports only from its own layer or from further in, and never
// another package of a layer marked as apart. A name that ends in a slash means what is below it only. What is
// in no list is a small library: the innermost layer.
var layers = []struct {
	name     string
	prefixes []string
	apart    bool
}{
	{"command", []string{"cmd/"}, false},
	{"cli", []string{"internal/cli"}, false},
	{"simulation", []string{"internal/sim"}, false},
	{"daemon", []string{"internal/daemon"}, false},
	{"roles", []string{"internal/role/"}, true},
	{"front door", []string{"internal/frontdoor"}, false},
	{"services and reconcilers", []string{"internal/service/", "internal/importer", "internal/flowlogs", "internal/chunks", "internal/instancerole", "internal/signup", "internal/login", "internal/authz", "internal/quota", "internal/identity", "internal/membership"}, false},
	{"domain", []string{"internal/lifecycle", "internal/instancetype", "internal/volumetype", "internal/userdata"}, false},
	{"engine drivers", []string{"internal/compute/", "internal/network/", "internal/object/", "internal/block/", "internal/imds"}, false},
	{"node protocol", []string{"internal/nodeapi"}, false},
	{"engine contracts", []string{"internal/compute", "internal/network", "internal/object", "internal/block"}, false},
	{"reconcile", []string{"internal/reconcile"}, false},
	{"store", []string{"internal/store"}, false},
}

func layerOf(path string) int {
	for i, l := range layers {
		for _, p := range l.prefixes {
			if path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
				return i
			}
		}
	}
	return len(layers)
}

func TestImportsPointInward(t *testing.T) {
	for _, p := range packages(t) {
		from := local(p.ImportPath)
		if strings.HasPrefix(from, "test/") {
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to := local(imp)
			if layerOf(to) < layerOf(from) {
				t.Errorf("%s imports %s, which is further out", from, to)
			}
			if l := layerOf(from); l < len(layers) && layers[l].apart && layerOf(to) == l && !within(to, from) && !within(from, to) {
				t.Errorf("%s imports %s: %s never import each other", from, to, layers[l].name)
			}
		}
	}
}

// within says that a lies below b's folder.
func within(a, b string) bool { return strings.HasPrefix(a, b+"/") }

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", local(p.ImportPath))
		}
	}
}

func TestNoVaguePackageNames(t *testing.T) {
	for _, p := range packages(t) {
		if name := filepath.Base(p.ImportPath); slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "models", "misc"}, name) {
			t.Errorf("%s: a package is named after what it is about", local(p.ImportPath))
		}
	}
}

// Modules that the project itself imports, and why. Nothing under GPL, AGPL or BUSL.
func TestModulesAreListed(t *testing.T) {
	data, err := os.ReadFile("modules.txt")
	if err != nil {
		t.Fatal(err)
	}
	why := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Errorf("modules.txt: %s has no reason", name)
		}
		why[name] = false
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if _, ok := why[name]; !ok {
			t.Errorf("module %s is used and not in test/repo/modules.txt", name)
		}
		why[name] = true
	}
	for name, used := range why {
		if !used {
			t.Errorf("module %s is in test/repo/modules.txt and not used", name)
		}
	}
}

// The AWS SDK is a client for tests: nothing of it may reach the binary.
func TestNothingForTestsIsLinked(t *testing.T) {
	for _, p := range packages(t) {
		if local(p.ImportPath) != "cmd/karri" {
			continue
		}
		for _, dep := range p.Deps {
			for _, banned := range []string{"github.com/aws/", "pgregory.net/rapid", "testing"} {
				if dep == banned || strings.HasPrefix(dep, strings.TrimSuffix(banned, "/")+"/") {
					t.Errorf("the binary links %s", dep)
				}
			}
		}
	}
}

// maxLines is where a file has grown past one idea.
const maxLines = 600

func TestFilesAreSmall(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "zz_generated") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := bytes.Count(data, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines", path, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A mutable global would keep fifty nodes from living in one process. What is allowed: error values,
// compiled tables and regular expressions, interface guards; this test only looks for the two that bite.
func TestNoInitAndNoGlobalLocks(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(data)) {
				if strings.HasPrefix(line, "func init()") {
					t.Errorf("%s/%s: no init functions", local(p.ImportPath), name)
				}
				if strings.HasPrefix(line, "var ") && (strings.Contains(line, "sync.Mutex") || strings.Contains(line, "sync.RWMutex") || strings.Contains(line, "sync.Map")) {
					t.Errorf("%s/%s: no locks in globals: %s", local(p.ImportPath), name, strings.TrimSpace(line))
				}
			}
		}
	}
}
