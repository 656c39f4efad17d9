package wire

import (
	"net/url"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// Limits on forms: above what any real request needs, below what hurts.
const (
	maxParameters = 20_000
	maxFormDepth  = 16
)

// notParameters are the names that belong to the request itself, among them those of all signatures.
func notParameter(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion",
		"Timestamp", "Expires", "SecurityToken":
		return true
	}
	return len(name) > 6 && strings.EqualFold(name[:6], "X-Amz-")
}

// parseForm makes the tree of a form's parameters.
func parseForm(form url.Values) (*Node, *awserr.Error) {
	if len(form) > maxParameters {
		return nil, awserr.New("MalformedQueryString", "The request has more than %d parameters", maxParameters)
	}
	names := make([]string, 0, len(form))
	for name, values := range form {
		if notParameter(name) {
			continue
		}
		if len(values) > 1 {
			return nil, awserr.New("MalformedQueryString", "The parameter %s is given more than once", name)
		}
		names = append(names, name)
	}
	// In this order everything below one name is adjacent, so the tree grows at its right edge only.
	slices.SortFunc(names, func(a, b string) int { return compareDotted(a, b) })
	root := &Node{sorted: true}
	for _, name := range names {
		n := root
		for rest, more, depth := name, true, 0; more; depth++ {
			if depth == maxFormDepth {
				return nil, awserr.New("MalformedQueryString", "The parameter %s is nested too deeply", short(name))
			}
			var part string
			part, rest, more = strings.Cut(rest, ".")
			if last := len(n.kids) - 1; last >= 0 && n.kids[last].name == part {
				n = n.kids[last]
				continue
			}
			kid := &Node{name: part, parent: n, sorted: true}
			n.kids = append(n.kids, kid)
			n = kid
		}
		if values := form[name]; len(values) == 1 {
			n.text, n.set = values[0], true
		}
	}
	return root, nil
}

// compareDotted orders by the parts between dots: a dot comes before every other byte.
func compareDotted(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '.':
			return -1
		case y == '.':
			return 1
		case x < y:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}

// short keeps what a client sent from filling an error message or a log.
func short(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
