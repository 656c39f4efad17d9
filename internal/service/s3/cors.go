package s3

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// maxRules is S3's limit of CORS rules.
const maxCORSRules = 100

// PutBucketCors sets which pages of other origins may use a bucket.
func (s *Service) PutBucketCors(ctx context.Context, in *shape.PutBucketCorsRequest) (*shape.PutBucketCorsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketCORS")
	if err != nil {
		return nil, err
	}
	if err := checkCORS(in.CORSConfiguration); err != nil {
		return nil, err
	}
	return &shape.PutBucketCorsResult{}, s.setConfig(ctx, b, resource.PartCORS, in.CORSConfiguration)
}

// GetBucketCors gives a bucket's CORS rules.
func (s *Service) GetBucketCors(ctx context.Context, in *shape.GetBucketCorsRequest) (*shape.GetBucketCorsResult, error) {
	c, err := asked[shape.CORSConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketCORS", resource.PartCORS,
		"NoSuchCORSConfiguration", "The CORS configuration does not exist")
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketCorsResult{CORSRules: c.CORSRules}, nil
}

// DeleteBucketCors removes a bucket's CORS rules.
func (s *Service) DeleteBucketCors(ctx context.Context, in *shape.DeleteBucketCorsRequest) (*shape.DeleteBucketCorsResult, error) {
	return &shape.DeleteBucketCorsResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketCORS", resource.PartCORS)
}

func checkCORS(c *shape.CORSConfiguration) error {
	if c == nil || len(c.CORSRules) == 0 || len(c.CORSRules) > maxCORSRules {
		return malformedXML()
	}
	for _, r := range c.CORSRules {
		if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 || len(r.ID) > 255 || r.MaxAgeSeconds != nil && *r.MaxAgeSeconds < 0 {
			return malformedXML()
		}
		for _, m := range r.AllowedMethods {
			if !slices.Contains([]string{"GET", "PUT", "HEAD", "POST", "DELETE"}, m) {
				return invalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
			}
		}
		for _, f := range []struct {
			name string
			list []string
		}{{"AllowedOrigin", r.AllowedOrigins}, {"AllowedHeader", r.AllowedHeaders}} {
			for _, v := range f.list {
				if strings.Count(v, "*") > 1 {
					return invalidRequest("%s \"%s\" can not have more than one wildcard.", f.name, v)
				}
			}
		}
		for _, h := range r.ExposeHeaders {
			if strings.Contains(h, "*") {
				return invalidRequest("ExposeHeader \"%s\" contains wildcard. We currently do not support wildcard for ExposeHeader.", h)
			}
		}
	}
	return nil
}

// CrossOrigin gives the headers that let a page of origin use a bucket with method and these headers (in lower case),
// by the first rule that does; nil if there is none. configured says whether the bucket has any rules.
func (s *Service) CrossOrigin(bucket, origin, method string, headers []string) (allow http.Header, configured bool, err error) {
	snap := s.store.Snapshot()
	b := s.visible(snap, bucket)
	if b == nil {
		return nil, false, noSuchBucket(bucket)
	}
	c, err := config[shape.CORSConfiguration](s, snap, b, resource.PartCORS)
	if c == nil || err != nil {
		return nil, false, err
	}
	for i := range c.CORSRules {
		if allow := cross(&c.CORSRules[i], origin, method, headers); allow != nil {
			return allow, true, nil
		}
	}
	return nil, true, nil
}

// cross applies one rule.
func cross(r *shape.CORSRule, origin, method string, headers []string) http.Header {
	i := slices.IndexFunc(r.AllowedOrigins, func(p string) bool { return wild(p, origin) })
	if i < 0 || !slices.Contains(r.AllowedMethods, method) {
		return nil
	}
	for _, h := range headers {
		if !slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return wild(strings.ToLower(p), h) }) {
			return nil
		}
	}
	allow := http.Header{}
	if r.AllowedOrigins[i] == "*" {
		allow.Set("Access-Control-Allow-Origin", "*")
	} else {
		allow.Set("Access-Control-Allow-Origin", origin)
		allow.Set("Access-Control-Allow-Credentials", "true")
	}
	allow.Set("Access-Control-Allow-Methods", strings.Join(r.AllowedMethods, ", "))
	if len(r.ExposeHeaders) > 0 {
		allow.Set("Access-Control-Expose-Headers", strings.Join(r.ExposeHeaders, ", "))
	}
	if r.MaxAgeSeconds != nil {
		allow.Set("Access-Control-Max-Age", strconv.Itoa(*r.MaxAgeSeconds))
	}
	allow.Set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	return allow
}

// wild matches a pattern with at most one asterisk.
func wild(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	return len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}
