package s3

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// reservedPrefixes and reservedSuffixes are those that AWS keeps.
func reserved(name string) bool {
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

// validBucketName says whether AWS would allow the name.
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || reserved(name) || strings.Contains(name, "..") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' && c != '.' || i == 0 || i == len(name)-1) {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}

func invalidBucketName(name string) *awserr.Error {
	return awserr.New("InvalidBucketName", "The specified bucket is not valid.").With("BucketName", name)
}

func checkKey(key string) error {
	if len(key) > maxKey {
		return awserr.New("KeyTooLongError", "Your key is too long").
			With("Size", strconv.Itoa(len(key))).With("MaxSizeAllowed", strconv.Itoa(maxKey))
	}
	return nil
}

// copySource reads x-amz-copy-source: [/]BUCKET/KEY[?versionId=ID], URL-encoded.
func copySource(text string) (bucket, key, version string, err error) {
	bad := func(message string) error { return invalidArgument("x-amz-copy-source", text, message) }
	path, version, versioned := strings.Cut(text, "?versionId=")
	path, err = url.PathUnescape(path)
	if err != nil {
		return "", "", "", bad("Invalid copy source encoding")
	}
	if strings.HasPrefix(path, "arn:") {
		return "", "", "", notImplemented("x-amz-copy-source")
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if bucket == "" || key == "" {
		return "", "", "", bad("Invalid copy source object key")
	}
	if versioned && version == "" {
		return "", "", "", bad("Version id cannot be the empty string")
	}
	return bucket, key, version, checkKey(key)
}

// unquote strips the quotes of an ETag.
func unquote(etag string) string {
	etag = strings.TrimSpace(etag)
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

func quote(etag string) string { return `"` + etag + `"` }

// encodeURL writes a key as listings do with encoding-type=url.
func encodeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }

// location is an object's address.
func (s *Service) location(bucket, key string) string {
	return strings.TrimSuffix(s.cfg.Endpoint, "/") + "/" + bucket + "/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
}
