// Command gen writes the wire shapes of AWS's services, internal/aws/shape/*, from AWS's own API
// description. It takes facts only (names, types, wire names, what is required), never prose.
//
// Each service's folder says what is wanted: operations.txt lists the operations served, one a line;
// additions.json names the description and adds what is newer than it, as it was frozen in 2025.
//
//	go run karri.dev/internal/aws/gen [-cache DIR] [-shapes internal/aws/shape]
package main

//go:generate go run . -shapes ../shape

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	shapes := flag.String("shapes", "internal/aws/shape", "folder of the services' folders")
	cache := flag.String("cache", defaultCache(), "folder that keeps the description between runs")
	check := flag.Bool("check", false, "write nothing, fail when something would change")
	flag.Parse()
	if err := run(*shapes, *cache, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(shapes, cache string, check bool) error {
	apis, err := fetch(cache)
	if err != nil {
		return err
	}
	lists, err := filepath.Glob(filepath.Join(shapes, "*", "operations.txt"))
	if err != nil || len(lists) == 0 {
		return fmt.Errorf("no service in %s (%v)", shapes, err)
	}
	for _, list := range lists {
		dir := filepath.Dir(list)
		files, err := generate(apis, dir)
		if err != nil {
			return err
		}
		for name, content := range files {
			if err := put(filepath.Join(dir, name), content, check); err != nil {
				return err
			}
		}
	}
	return nil
}

// generate gives the generated files of the service whose folder is dir.
func generate(apis, dir string) (map[string][]byte, error) {
	listed, err := readList(filepath.Join(dir, "operations.txt"))
	if err != nil {
		return nil, err
	}
	var add additions
	if err := readJSON(filepath.Join(dir, "additions.json"), &add); err != nil {
		return nil, err
	}
	var desc description
	if err := readJSON(filepath.Join(apis, add.Description+".min.json"), &desc); err != nil {
		return nil, err
	}
	names, err := readNames(add.Names)
	if err != nil {
		return nil, err
	}
	m, err := build(filepath.Base(dir), &desc, &add, names, listed)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, emit := range map[string]func() ([]byte, error){
		"zz_generated_decode.go":  m.emitDecode,
		"zz_generated_encode.go":  m.emitEncode,
		"zz_generated_service.go": m.emitService,
		"zz_generated_types.go":   m.emitTypes,
		"zz_generated_enums.go":   m.emitEnums,
		"zz_generated_api.go":     m.emitAPI,
	} {
		if files[name], err = emit(); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, name, err)
		}
		if files[name] == nil { // there is nothing of this kind
			delete(files, name)
		}
	}
	return files, nil
}

func readList(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(string(data))
	slices.Sort(list)
	return slices.Compact(list), nil
}

func put(path string, content []byte, check bool) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not up to date: run make generate", path)
	}
	return os.WriteFile(path, content, 0o644)
}
