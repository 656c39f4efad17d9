package s3

import (
	"fmt"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/object"
)

// span is the part of an object that is answered.
type span struct {
	offset, length int64
	partial        bool
	part           *object.Part // if it was asked for by number
}

func (r span) contentRange(size int64) string {
	if !r.partial {
		return ""
	}
	return fmt.Sprintf("bytes %d-%d/%d", r.offset, r.offset+r.length-1, size)
}

// parseRange reads a Range header. ok is false where HTTP says to ignore it; S3 knows one range only.
func parseRange(text string, size int64) (r span, ok bool, err error) {
	spec, found := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return span{}, false, nil
	}
	if first == "" { // the last so many bytes
		n, good := number(last)
		if !good {
			return span{}, false, nil
		}
		if n == 0 || size == 0 {
			return span{}, false, invalidRange(text, size)
		}
		n = min(n, size)
		return span{offset: size - n, length: n, partial: true}, true, nil
	}
	from, good := number(first)
	to := size - 1
	if last != "" && good {
		to, good = number(last)
	}
	if !good || last != "" && to < from {
		return span{}, false, nil
	}
	if from >= size {
		return span{}, false, invalidRange(text, size)
	}
	to = min(to, size-1)
	return span{offset: from, length: to - from + 1, partial: true}, true, nil
}

// parseCopyRange reads x-amz-copy-source-range, which is strict.
func parseCopyRange(text string, size int64) (span, error) {
	if text == "" {
		return span{length: size}, nil
	}
	spec, found := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	from, good1 := number(first)
	to, good2 := number(last)
	if !found || !dash || !good1 || !good2 || to < from {
		return span{}, invalidArgument("x-amz-copy-source-range", text, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if to >= size {
		return span{}, invalidArgument("x-amz-copy-source-range", text, fmt.Sprintf("Range specified is not valid for source object of size: %d", size))
	}
	return span{offset: from, length: to - from + 1, partial: true}, nil
}

// number reads digits; a number that is too large stands for the largest.
func number(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

func invalidRange(text string, size int64) error {
	return awserr.New("InvalidRange", "The requested range is not satisfiable").WithStatus(416).
		With("RangeRequested", text).With("ActualObjectSize", strconv.FormatInt(size, 10))
}

// choose finds what a read asks for.
func choose(o object.Object, text string, partNumber *int) (span, error) {
	size := o.Meta().Size
	if partNumber == nil {
		if r, ok, err := parseRange(text, size); ok || err != nil {
			return r, err
		}
		return span{length: size}, nil
	}
	if text != "" {
		return span{}, invalidRequest("Cannot specify both Range header and partNumber query parameter")
	}
	return choosePart(o, *partNumber)
}

// choosePart finds a part by its number. An object that is not multipart is its own part 1.
func choosePart(o object.Object, n int) (span, error) {
	if n < 1 || n > maxParts {
		return span{}, invalidArgument("partNumber", strconv.Itoa(n), "Part number must be an integer between 1 and 10000, inclusive")
	}
	size := o.Meta().Size
	if o.Meta().Parts == 0 && n == 1 {
		return span{length: size, partial: size > 0}, nil
	}
	parts, err := o.Parts()
	if err != nil {
		return span{}, fmt.Errorf("parts of %q: %w", o.Meta().Key, err)
	}
	var offset int64
	for i := range parts {
		if parts[i].Number == n {
			return span{offset: offset, length: parts[i].Size, partial: parts[i].Size > 0, part: &parts[i]}, nil
		}
		offset += parts[i].Size
	}
	return span{}, awserr.New("InvalidPartNumber", "The requested partnumber is not satisfiable").WithStatus(416).
		With("PartNumberRequested", strconv.Itoa(n)).With("ActualPartCount", strconv.Itoa(max(1, len(parts))))
}
