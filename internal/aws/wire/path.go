package wire

import (
	"net/http"
	"net/url"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// MatchPath finds the operation of a request of the RestJSON protocol, and the values of its path's labels. path is as it
// came, escaped. The route is valid, for the log, when an operation was recognised and is not served.
func (s *Service) MatchPath(method, path string) (Route, *Operation, []Label, error) {
	var best *Route
	var labels []Label
	for i := range s.Known {
		r := &s.Known[i]
		if r.Method != method {
			continue
		}
		// What has fewer labels is meant: /snapshots/completion before /snapshots/{snapshotId}.
		if found, ok := r.labels(path); ok && (best == nil || len(found) < len(labels)) {
			best, labels = r, found
		}
	}
	if best == nil {
		return Route{}, nil, nil, awserr.New("UnknownOperationException", "There is no operation %s %s", method, short(path)).WithStatus(http.StatusNotFound)
	}
	op := s.served(best.Name)
	if op == nil {
		return *best, nil, nil, awserr.New("UnknownOperationException", "The operation %s is not served here", best.Name).WithStatus(http.StatusNotFound)
	}
	return *best, op, labels, nil
}

// labels gives the values of the route's labels in a path, which has as many elements as the route.
func (r *Route) labels(path string) ([]Label, bool) {
	pattern, given := strings.Split(r.Path, "/"), strings.Split(path, "/")
	if len(pattern) != len(given) {
		return nil, false
	}
	var out []Label
	for i, p := range pattern {
		value, err := url.PathUnescape(given[i])
		switch name, label := strings.CutPrefix(p, "{"); {
		case err != nil:
			return nil, false
		case label && value != "":
			out = append(out, Label{strings.TrimSuffix(name, "}"), value})
		case label || value != p:
			return nil, false
		}
	}
	return out, true
}
