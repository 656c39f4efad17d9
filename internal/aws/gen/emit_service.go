package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// emitService writes the table of operations.
func (m *model) emitService() ([]byte, error) {
	protocol := map[string]string{"ec2": "EC2", "query": "Query", "rest-xml": "RestXML", "json": "JSON", "rest-json": "RestJSON"}[m.Desc.Metadata.Protocol]
	if protocol == "" {
		return nil, fmt.Errorf("protocol %s is not supported", m.Desc.Metadata.Protocol)
	}
	var out source
	out.f("// Service describes the service: its operations as they are on the wire.\nfunc Service() *wire.Service {\nreturn &wire.Service{\n")
	out.f("Name: %q,\nProtocol: wire.%s,\nAPIVersion: %q,\nNamespace: namespace,\nOperations: operations(),\nKnown: known(),\n",
		m.Package, protocol, m.Desc.Metadata.APIVersion)
	if protocol == "JSON" {
		out.f("TargetPrefix: %q,\n", m.Desc.Metadata.TargetPrefix)
	}
	out.f("}\n}\n\n")
	m.emitNamespace(&out)
	routes, err := m.routes()
	if err != nil {
		return nil, err
	}
	out.f("func operations() []wire.Operation {\nreturn []wire.Operation{\n")
	for _, op := range m.Operations {
		out.f("{\nRoute: %s,\n", routes[op.Name])
		if slices.Contains(m.Add.Unsigned, op.Name) {
			out.f("Unsigned: true,\n")
		}
		if op.Shape.AuthType == "v4-unsigned-body" && m.json() {
			out.f("UnsignedPayload: true,\n")
		}
		m.emitFuncs(&out, op, protocol)
		out.f("Invoke: func(ctx context.Context, api, in any) (any, error) {\nreturn api.(API).%s(ctx, in.(*%s))\n},\n},\n",
			op.Name, op.Input.Name)
	}
	out.f("}\n}\n\nfunc known() []wire.Route {\nreturn []wire.Route{\n")
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		out.f("%s,\n", strings.TrimPrefix(routes[name], "wire.Route"))
	}
	out.f("}\n}\n")
	return m.file(&out, "context", "karri.dev/internal/aws/wire")
}

func (m *model) emitNamespace(out *source) {
	ns := m.Add.Namespace
	if ns != "" {
		out.f("func namespace(string) string { return %q }\n\n", ns)
		return
	}
	if m.json() {
		out.f("func namespace(string) string { return \"\" }\n\n")
		return
	}
	version := m.Desc.Metadata.APIVersion
	base := strings.TrimSuffix(strings.TrimSuffix(m.Desc.Metadata.XMLNamespace, "/"), version)
	out.f("func namespace(version string) string {\nif version == \"\" {\nversion = %q\n}\nreturn %q + version + \"/\"\n}\n\n", version, base)
}

func (m *model) emitFuncs(out *source, op *operation, protocol string) {
	in, res := op.Input.Name, op.Output.Name
	if m.rest() {
		status := op.Shape.HTTP.ResponseCode
		if status == 0 {
			status = 200
		}
		out.f("Decode: func(r *wire.Request) (any, error) { return wire.DecodeREST(wire.%s, r, headers%s, decode%s) },\n", protocol, op.Name, in)
		out.f("Encode: func(w *wire.Response, out any) error { return wire.EncodeREST(w, out, %d, encode%s) },\n", status, res)
		return
	}
	if protocol == "JSON" {
		out.f("Decode: func(r *wire.Request) (any, error) { return wire.DecodeJSON(r, decode%s) },\n", in)
		out.f("Encode: func(w *wire.Response, out any) error { return wire.EncodeJSON(w, out, %q, append%s) },\n", m.Desc.Metadata.JSONVersion, res)
		return
	}
	out.f("Decode: func(r *wire.Request) (any, error) { return wire.DecodeForm(wire.%s, r, decode%s) },\n", protocol, in)
	if protocol == "EC2" {
		out.f("Encode: func(w *wire.Response, out any) error { return wire.EncodeEC2(w, out, %q, append%s) },\n", op.Root, res)
	} else {
		out.f("Encode: func(w *wire.Response, out any) error { return wire.EncodeQuery(w, out, %q, %q, append%s) },\n", op.Root, op.Wrapper, res)
	}
}

// routes gives the Go text of the route of each operation that AWS has, also of those that only the SDK knows.
func (m *model) routes() (map[string]string, error) {
	routes := map[string]string{}
	rest := m.rest()
	for _, name := range m.Names.operations {
		if m.Desc.Operations[name] != nil {
			continue
		}
		if rest {
			return nil, fmt.Errorf("additions: the newer operation %s needs its route", name)
		}
		routes[name] = fmt.Sprintf("wire.Route{Name: %q}", name)
	}
	selecting := m.selecting()
	for name, op := range m.Desc.Operations {
		if !rest {
			routes[name] = fmt.Sprintf("wire.Route{Name: %q}", name)
			continue
		}
		r, err := m.route(op)
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("wire.Route{Name: %q, Method: %q, Path: %q", name, r.method, r.path)
		if r.query != nil {
			text += fmt.Sprintf(", Query: %#v", r.query)
		}
		if r.header != "" {
			text += fmt.Sprintf(", Header: %q", r.header)
		}
		r.accepts = slices.DeleteFunc(r.accepts, func(q string) bool { return !selecting[q] })
		if len(r.accepts) > 0 {
			text += fmt.Sprintf(", Accepts: %#v", r.accepts)
		}
		routes[name] = text + "}"
	}
	return routes, nil
}

// rest says that operations are told apart by method and path, json that payloads are JSON.
func (m *model) rest() bool { return strings.HasPrefix(m.Desc.Metadata.Protocol, "rest-") }
func (m *model) json() bool { return strings.HasSuffix(m.Desc.Metadata.Protocol, "json") }

type route struct {
	method, path, header string
	query, accepts       []string
}

// route finds what selects a REST operation: the sub-resource in its path, and the query parameters and
// the x-amz-copy-source header that it cannot do without.
func (m *model) route(op *operationShape) (route, error) {
	r := route{method: op.HTTP.Method, path: op.HTTP.RequestURI}
	if r.method == "" {
		r.method = "POST"
	}
	if r.path == "" {
		r.path = "/"
	}
	if _, sub, ok := strings.Cut(r.path, "?"); ok {
		r.query = strings.Split(sub, "&")
	}
	if op.Input == nil {
		return r, nil
	}
	in, err := m.Desc.resolve(op.Input)
	if err != nil {
		return r, err
	}
	for _, mem := range in.Members {
		required := slices.Contains(in.Required, mem.Name)
		switch {
		case mem.Shape.Location == "querystring" && required:
			r.query = append(r.query, mem.Shape.LocationName)
		case mem.Shape.Location == "querystring":
			r.accepts = append(r.accepts, mem.Shape.LocationName)
		case mem.Shape.LocationName == "x-amz-copy-source" && required:
			r.header = mem.Shape.LocationName
		}
	}
	return r, nil
}

// selecting are the query parameters that select some operation.
func (m *model) selecting() map[string]bool {
	set := map[string]bool{}
	for _, op := range m.Desc.Operations {
		if r, err := m.route(op); err == nil {
			for _, q := range r.query {
				name, _, _ := strings.Cut(q, "=")
				set[name] = true
			}
		}
	}
	return set
}
