package s3

import (
	"context"
	"slices"
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

// Cross is what a bucket's CORS rules say to a page that asks.
type Cross struct {
	Origin                   string // for Access-Control-Allow-Origin: the page's, or "*"
	Methods, Headers, Expose []string
	MaxAge                   *int
}

// CORS finds the first rule that lets a page of origin use method with these headers (lower case); nil if there is
// none. configured says whether the bucket has any rules.
func (s *Service) CORS(bucket, origin, method string, headers []string) (found *Cross, configured bool, err error) {
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
		if x := cross(&c.CORSRules[i], origin, method, headers); x != nil {
			return x, true, nil
		}
	}
	return nil, true, nil
}

// cross applies one rule.
func cross(r *shape.CORSRule, origin, method string, headers []string) *Cross {
	i := slices.IndexFunc(r.AllowedOrigins, func(p string) bool { return wild(p, origin) })
	if i < 0 || !slices.Contains(r.AllowedMethods, method) {
		return nil
	}
	for _, h := range headers {
		if !slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return wild(strings.ToLower(p), h) }) {
			return nil
		}
	}
	x := &Cross{Origin: origin, Methods: r.AllowedMethods, Headers: headers, Expose: r.ExposeHeaders, MaxAge: r.MaxAgeSeconds}
	if r.AllowedOrigins[i] == "*" {
		x.Origin = "*"
	}
	return x
}

// wild matches a pattern with at most one asterisk.
func wild(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	return len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}
