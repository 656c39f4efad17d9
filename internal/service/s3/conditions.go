package s3

import (
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/object"
)

// conditions are those of a read, or of a copy's source.
type conditions struct {
	match, noneMatch               string
	modifiedSince, unmodifiedSince time.Time
}

// failed gives the name of the condition that does not hold, "" if all do. The rules are RFC 9110's: ETags go
// before times. HTTP's times are whole seconds.
func (c conditions) failed(m object.Meta) string {
	modified := m.Modified.Truncate(time.Second)
	switch {
	case c.match != "":
		if !matches(c.match, m.ETag) {
			return "If-Match"
		}
	case !c.unmodifiedSince.IsZero() && modified.After(c.unmodifiedSince):
		return "If-Unmodified-Since"
	}
	switch {
	case c.noneMatch != "":
		if matches(c.noneMatch, m.ETag) {
			return "If-None-Match"
		}
	case !c.modifiedSince.IsZero() && !modified.After(c.modifiedSince):
		return "If-Modified-Since"
	}
	return ""
}

// read judges the conditions of a GET or HEAD.
func (c conditions) read(m object.Meta) error {
	switch name := c.failed(m); name {
	case "":
		return nil
	case "If-None-Match", "If-Modified-Since":
		return awserr.New("NotModified", "Not Modified").WithStatus(304)
	default:
		return preconditionFailed(name)
	}
}

// copying judges the conditions of a copy's source.
func (c conditions) copying(m object.Meta) error {
	if name := c.failed(m); name != "" {
		return preconditionFailed("x-amz-copy-source-" + strings.ToLower(name))
	}
	return nil
}

// matches looks for an ETag in a list.
func matches(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || unquote(strings.TrimPrefix(item, "W/")) == etag {
			return true
		}
	}
	return false
}
