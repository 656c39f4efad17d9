package wire

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// Lookup finds the operation that a query protocol's Action names.
func (s *Service) Lookup(action string) (*Operation, error) {
	if action == "" {
		return nil, awserr.New("MissingAction", "The request must contain the parameter Action")
	}
	if op := s.served(action); op != nil {
		return op, nil
	}
	return nil, awserr.New("InvalidAction", "The action %s is not valid for this web service.", short(action))
}

func (s *Service) served(name string) *Operation {
	i, ok := slices.BinarySearchFunc(s.Operations, name, func(op Operation, name string) int { return strings.Compare(op.Name, name) })
	if !ok {
		return nil
	}
	return &s.Operations[i]
}

var versionPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

// CheckVersion refuses what is no API version. Any that could be one is answered in its own namespace.
func (s *Service) CheckVersion(version string) error {
	if version == "" || versionPattern.MatchString(version) {
		return nil
	}
	return awserr.New("NoSuchVersion", "The requested version (%s) of the service does not exist", short(version))
}

// Match finds the operation of a REST request. The bucket comes from path or host, as the caller knows.
// It is strict, since what falls through to a plain operation would delete or overwrite: a parameter that
// selects one operation of AWS's never reaches another. The route is valid, for the log, when an operation
// was recognised and is not served.
func (s *Service) Match(method, bucket, key string, query url.Values, header http.Header) (Route, *Operation, error) {
	level := 0
	switch {
	case bucket == "" && key != "":
		return Route{}, nil, awserr.New("InvalidURI", "Couldn't parse the specified URI.")
	case key != "":
		level = 2
	case bucket != "":
		level = 1
	}
	var best *Route
	bestScore := -1
	for i := range s.Known {
		r := &s.Known[i]
		if r.Method != method || r.level() != level || !r.selected(query, header) {
			continue
		}
		score := r.score()
		if s.served(r.Name) != nil {
			score++ // of two names for one route, such as GetBucketLifecycle(Configuration)
		}
		if score > bestScore {
			best, bestScore = r, score
		}
	}
	if best == nil {
		return Route{}, nil, methodNotAllowed(method)
	}
	for name := range query {
		if best.understands(name) || !s.selects(name) {
			continue
		}
		if best.sub() != "" {
			return *best, nil, awserr.New("InvalidArgument", "Conflicting query string parameters: %s, %s", best.sub(), name).
				With("ArgumentName", "ResourceType").With("ArgumentValue", best.sub())
		}
		return *best, nil, methodNotAllowed(method)
	}
	for name, values := range query {
		// What looks like a sub-resource that nobody knows is one that came later: whoever sends it does not mean the plain
		// operation, which would write or delete something else.
		if method != http.MethodGet && method != http.MethodHead && strings.Join(values, "") == "" && !best.understands(name) && !strings.HasPrefix(strings.ToLower(name), "x-") {
			return *best, nil, awserr.New("NotImplemented", "The sub-resource %s is not implemented", short(name)).WithStatus(http.StatusNotImplemented)
		}
	}
	op := s.served(best.Name)
	if op == nil {
		return *best, nil, awserr.New("NotImplemented", "The operation %s is not implemented", best.Name).WithStatus(http.StatusNotImplemented)
	}
	return *best, op, nil
}

func methodNotAllowed(method string) *awserr.Error {
	return awserr.New("MethodNotAllowed", "The specified method is not allowed against this resource.").
		WithStatus(http.StatusMethodNotAllowed).With("Method", method)
}

// level is the number of labels in the path: 0 service, 1 bucket, 2 object; -1 for other paths.
func (r *Route) level() int {
	path, _, _ := strings.Cut(r.Path, "?")
	switch path {
	case "/":
		return 0
	case "/{Bucket}":
		return 1
	case "/{Bucket}/{Key+}":
		return 2
	}
	return -1
}

// sub is the sub-resource in the path: "uploads".
func (r *Route) sub() string {
	_, sub, _ := strings.Cut(r.Path, "?")
	return sub
}

func (r *Route) selected(query url.Values, header http.Header) bool {
	for _, selector := range r.Query {
		name, value, exact := strings.Cut(selector, "=")
		values, ok := query[name]
		if !ok || exact && (len(values) != 1 || values[0] != value) {
			return false
		}
	}
	return r.Header == "" || header.Get(r.Header) != ""
}

// score puts what is selected by more first, sub-resources before all.
func (r *Route) score() int {
	score := 10 * len(r.Query)
	if r.Header != "" {
		score += 10
	}
	if r.sub() != "" {
		score += 1000
	}
	return score
}

func (r *Route) understands(name string) bool {
	return slices.Contains(r.Accepts, name) ||
		slices.ContainsFunc(r.Query, func(q string) bool { return q == name || strings.HasPrefix(q, name+"=") })
}

// selects says that a query parameter selects an operation: a sub-resource, or a parameter that alone
// tells one operation from another (uploadId).
func (s *Service) selects(name string) bool {
	for i := range s.Known {
		r := &s.Known[i]
		sub := r.sub()
		for _, selector := range r.Query {
			if q, _, _ := strings.Cut(selector, "="); q == name && (sub == "" || strings.Contains("&"+sub+"&", "&"+selector+"&")) {
				return true
			}
		}
	}
	return false
}
