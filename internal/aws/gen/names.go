package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
)

// names are the names that AWS's Go SDK gives: the description that npm ships leaves most types and all
// enums without one. Only declarations are read; nothing of the SDK is compiled in.
type names struct {
	fields map[string]map[string]string // struct → field → type without *, [] and package
	enums  map[string][]enumValue

	operations []string
}

type enumValue struct{ Name, Value string }

func readNames(module string) (*names, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, fmt.Errorf("finding module %s: %w", module, err)
	}
	dir := strings.TrimSpace(string(out))
	n := &names{fields: map[string]map[string]string{}, enums: map[string][]enumValue{}}
	for _, pattern := range []string{"api_op_*.go", "types/*.go"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("%s/%s: %w", dir, pattern, fs.ErrNotExist)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if op, ok := strings.CutPrefix(filepath.Base(file), "api_op_"); ok {
				n.operations = append(n.operations, strings.TrimSuffix(op, ".go"))
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			n.read(f)
		}
	}
	return n, nil
}

func (n *names) read(f *ast.File) {
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if s, ok := spec.Type.(*ast.StructType); ok {
					n.fields[spec.Name.Name] = structFields(s)
				}
			case *ast.ValueSpec:
				kind, ok := spec.Type.(*ast.Ident)
				if !ok || len(spec.Values) != 1 {
					continue
				}
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					n.enums[kind.Name] = append(n.enums[kind.Name], enumValue{spec.Names[0].Name, lit.Value})
				}
			}
		}
	}
}

func structFields(s *ast.StructType) map[string]string {
	fields := map[string]string{}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			fields[name.Name] = baseType(f.Type)
		}
	}
	return fields
}

func baseType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseType(e.X)
	case *ast.ArrayType:
		return baseType(e.Elt)
	case *ast.MapType:
		return baseType(e.Value)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// field gives the SDK's type of a struct's field, "" when it has none.
func (n *names) field(structName, field string) string {
	fields := n.fields[structName]
	if t, ok := fields[field]; ok {
		return t
	}
	for name, t := range fields { // the SDK now and then spells initialisms otherwise
		if strings.EqualFold(name, field) {
			return t
		}
	}
	return ""
}
