package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const shapes = "../shape"

// apis gives the description if a run of the generator has fetched it; tests never go to the network.
func apis(t *testing.T) string {
	dir := filepath.Join(defaultCache(), "package", "apis")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("AWS's description is not in the cache: make generate fetches it (%v)", err)
	}
	return dir
}

// TestUpToDate wants the committed files to be what the generator writes, each time.
func TestUpToDate(t *testing.T) {
	apis(t)
	for range 2 {
		if err := run(shapes, defaultCache(), true); err != nil {
			t.Fatal(err)
		}
	}
}

// copyOf gives a copy of a service's handwritten files, changed by edit.
func copyOf(t *testing.T, service string, edit func(name, text string) string) string {
	dir := filepath.Join(t.TempDir(), service)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"operations.txt", "additions.json"} {
		text, err := os.ReadFile(filepath.Join(shapes, service, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(edit(name, string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAddOperation: one line in operations.txt is all that a new operation takes.
func TestAddOperation(t *testing.T) {
	for service, operation := range map[string]string{"ec2": "CreateVolume", "iam": "CreatePolicy", "sts": "AssumeRole", "s3": "GetBucketTagging"} {
		dir := copyOf(t, service, func(name, text string) string {
			if name == "operations.txt" {
				text += operation + "\n"
			}
			return text
		})
		files, err := generate(apis(t), dir)
		if err != nil {
			t.Errorf("%s: %v", operation, err)
			continue
		}
		for name, want := range map[string]string{
			"zz_generated_api.go":     operation + "(ctx context.Context, in *" + operation + "Request) (*" + operation + "Result, error)",
			"zz_generated_types.go":   "type " + operation + "Request struct",
			"zz_generated_service.go": "api.(API)." + operation + "(ctx",
		} {
			if !strings.Contains(string(files[name]), want) {
				t.Errorf("%s: %s lacks %q", operation, name, want)
			}
		}
	}
}

// TestMistakes: what is listed and does not exist is an error, not left out.
func TestMistakes(t *testing.T) {
	for want, edit := range map[string]func(name, text string) string{
		"no operation MakeCoffee": func(name, text string) string {
			if name == "operations.txt" {
				text += "MakeCoffee\n"
			}
			return text
		},
		"no struct Nothing": func(name, text string) string {
			if name == "additions.json" {
				text = strings.Replace(text, `"members": {`, `"members": {"Nothing": {"X": {}},`, 1)
			}
			return text
		},
		"no member Instance.Nothing": func(name, text string) string {
			return strings.Replace(text, `"always": [`, `"always": ["Instance.Nothing", `, 1)
		},
	} {
		_, err := generate(apis(t), copyOf(t, "ec2", edit))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestNoProse: the generator takes facts only, so the one comment lines it writes are those it makes.
func TestNoProse(t *testing.T) {
	files, err := generate(apis(t), copyOf(t, "sts", func(_, text string) string { return text }))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for line := range strings.Lines(string(files[name])) {
			if strings.HasPrefix(line, "//") && len(line) > 90 {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
