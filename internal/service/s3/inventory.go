package s3

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// inventoryService writes inventories, where the destination's policy lets it.
const inventoryService = "s3.amazonaws.com"

// maxInventoryFile bounds the memory that an inventory takes: a file that has grown to this is written.
const maxInventoryFile = 8 << 20

// inventoryField is a column that can be asked for.
type inventoryField struct {
	name  string
	value func(*object.Version) string
}

// inventoryFields are the columns in AWS's order. One that means nothing here is empty, as it is at AWS for objects of
// which it means nothing.
var inventoryFields = []inventoryField{
	{"Size", func(v *object.Version) string { return strconv.FormatInt(v.Size, 10) }},
	{"LastModifiedDate", func(v *object.Version) string { return v.Modified.UTC().Format("2006-01-02T15:04:05.000Z") }},
	{"ETag", func(v *object.Version) string { return v.ETag }},
	{"StorageClass", func(v *object.Version) string { return cmp.Or(v.Class, "STANDARD") }},
	{"IsMultipartUploaded", func(v *object.Version) string { return strconv.FormatBool(v.Parts > 0) }},
	{"ReplicationStatus", func(v *object.Version) string { return v.Replication }},
	{"EncryptionStatus", func(v *object.Version) string {
		return map[string]string{"": "NOT-SSE", object.ByCloud: "SSE-S3", object.ByCustomer: "SSE-C"}[v.Encryption]
	}},
	{"ObjectLockRetainUntilDate", func(v *object.Version) string {
		if v.Lock.Mode == "" {
			return ""
		}
		return v.Lock.Until.UTC().Format("2006-01-02T15:04:05.000Z")
	}},
	{"ObjectLockMode", func(v *object.Version) string { return v.Lock.Mode }},
	{"ObjectLockLegalHoldStatus", func(v *object.Version) string {
		if v.Lock.Hold {
			return "ON"
		}
		return "OFF"
	}},
	{"IntelligentTieringAccessTier", nothing},
	{"BucketKeyStatus", nothing},
	{"ChecksumAlgorithm", func(v *object.Version) string { return v.ChecksumAlgorithm }},
	{"ObjectOwner", func(v *object.Version) string { return v.Owner }},
}

func nothing(*object.Version) string { return "" }

// WriteInventories writes all inventories that are due: a daily one when a day of UTC has begun, a weekly one on Sunday,
// a new one at once. What fails waits for the next time and holds up no other.
func (s *Service) WriteInventories(ctx context.Context) error {
	snap := s.store.Snapshot()
	var failures []error
	for b := range store.Buckets.All(snap) {
		for r := range inventories.records(snap, b, "") {
			c, err := config[shape.InventoryConfiguration](s, snap, b, r.Kind)
			if err == nil && c.IsEnabled && !b.System {
				err = s.writeInventory(ctx, b, c)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !errors.Is(err, object.ErrNoBucket) {
				failures = append(failures, fmt.Errorf("inventory %s of bucket %s: %w", strings.TrimPrefix(string(r.Kind), string(inventories.kind(""))), b.Name, err))
			}
		}
	}
	return errors.Join(failures...)
}

// inventoried is when an inventory was begun last, of those that were written to the end.
type inventoried struct{ Began time.Time }

func inventoriedKind(id string) resource.BucketPart {
	return resource.PartInventoried + "/" + resource.BucketPart(id)
}

func (s *Service) writeInventory(ctx context.Context, b *resource.Bucket, c *shape.InventoryConfiguration) error {
	now := s.now().UTC()
	from := now.Truncate(24 * time.Hour)
	if c.Schedule.Frequency == "Weekly" {
		from = from.AddDate(0, 0, -int(from.Weekday()))
	}
	last, err := config[inventoried](s, s.store.Snapshot(), b, inventoriedKind(c.Id))
	if err != nil || last != nil && !last.Began.Before(from) {
		return err
	}
	to := s.inventoryTarget(s.store.Snapshot(), b, c)
	if to == nil {
		return errors.New("its destination is not there")
	}
	w := inventory{service: s, bucket: b, to: to, config: c, began: now}
	if err := w.write(ctx); err != nil {
		return err
	}
	return s.setConfig(ctx, b, inventoriedKind(c.Id), inventoried{now})
}

// inventory is one that is being written.
type inventory struct {
	service *Service
	bucket  *resource.Bucket
	to      *resource.Bucket
	config  *shape.InventoryConfiguration
	began   time.Time

	fields []inventoryField
	files  []inventoryFile
	file   bytes.Buffer
	zip    *gzip.Writer
}

// inventoryFile is a file's entry in the manifest.
type inventoryFile struct {
	Key         string `json:"key"`
	Size        int    `json:"size"`
	MD5checksum string `json:"MD5checksum"`
}

func (w *inventory) write(ctx context.Context) error {
	if err := w.may(ctx, w.manifestKey()); err != nil { // before the bucket is read
		return err
	}
	titles := []string{"Bucket", "Key"}
	all := w.config.IncludedObjectVersions == "All"
	if all {
		titles = append(titles, "VersionId", "IsLatest", "IsDeleteMarker")
	}
	for _, f := range inventoryFields {
		if slices.Contains(w.config.OptionalFields, f.name) {
			w.fields = append(w.fields, f)
			titles = append(titles, f.name)
		}
	}
	o := object.VersionOptions{Max: maxPage, Full: true}
	if w.config.Filter != nil {
		o.Prefix = w.config.Filter.Prefix
	}
	for more := true; more; {
		page, err := w.service.engine.ListVersions(ctx, w.bucket.Engine, o)
		if err != nil {
			return err
		}
		for i := range page.Versions {
			if err := w.add(ctx, &page.Versions[i], all); err != nil {
				return err
			}
		}
		o.AfterKey, o.AfterVersion, more = page.NextKey, page.NextVersion, page.Truncated
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	return w.manifest(ctx, strings.Join(titles, ", "))
}

// add writes a version's line: all values are quoted, keys as in a URL.
func (w *inventory) add(ctx context.Context, v *object.Version, all bool) error {
	if !all && (!v.Latest || v.Marker) {
		return nil
	}
	line := []string{w.bucket.Name, strings.ReplaceAll(url.QueryEscape(v.Key), "%2F", "/")}
	if all {
		id := v.VersionID
		if id == object.Null {
			id = ""
		}
		line = append(line, id, strconv.FormatBool(v.Latest), strconv.FormatBool(v.Marker))
	}
	for _, f := range w.fields {
		if v.Marker && f.name != "LastModifiedDate" && f.name != "ObjectOwner" {
			line = append(line, "")
			continue
		}
		line = append(line, f.value(v))
	}
	if w.zip == nil {
		w.zip = gzip.NewWriter(&w.file)
	}
	for i, value := range line {
		line[i] = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
	}
	if _, err := w.zip.Write([]byte(strings.Join(line, ",") + "\n")); err != nil {
		return err
	}
	if w.file.Len() < maxInventoryFile {
		return nil
	}
	return w.flush(ctx)
}

// folder is where an inventory's files lie.
func (w *inventory) folder() string {
	prefix := w.config.Destination.S3BucketDestination.Prefix
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	}
	return prefix + w.bucket.Name + "/" + w.config.Id + "/"
}

func (w *inventory) manifestKey() string {
	return w.folder() + w.began.Format("2006-01-02T15-04Z") + "/manifest.json"
}

// flush writes the file at hand.
func (w *inventory) flush(ctx context.Context) error {
	if w.zip == nil {
		return nil
	}
	if err := w.zip.Close(); err != nil {
		return err
	}
	key := w.folder() + "data/" + w.service.ids.UUID() + ".csv.gz"
	sum := md5.Sum(w.file.Bytes())
	if err := w.put(ctx, key, "application/x-gzip", w.file.Bytes()); err != nil {
		return err
	}
	w.files = append(w.files, inventoryFile{key, w.file.Len(), hex.EncodeToString(sum[:])})
	w.zip = nil
	w.file.Reset()
	return nil
}

// manifest writes what the files are; it comes last, so that whoever sees it finds them all.
func (w *inventory) manifest(ctx context.Context, schema string) error {
	text, err := json.Marshal(struct {
		SourceBucket      string          `json:"sourceBucket"`
		DestinationBucket string          `json:"destinationBucket"`
		Version           string          `json:"version"`
		CreationTimestamp string          `json:"creationTimestamp"`
		FileFormat        string          `json:"fileFormat"`
		FileSchema        string          `json:"fileSchema"`
		Files             []inventoryFile `json:"files"`
	}{w.bucket.Name, bucketARN(w.to.Name), "2016-11-30", strconv.FormatInt(w.began.UnixMilli(), 10), "CSV", schema, slices.Concat([]inventoryFile{}, w.files)})
	if err != nil {
		return err
	}
	var links []string
	for _, f := range w.files {
		links = append(links, "s3://"+w.to.Name+"/"+f.Key)
	}
	if err := w.put(ctx, w.folder()+"hive/dt="+w.began.Format("2006-01-02-15-04")+"/symlink.txt", "text/plain", []byte(strings.Join(links, "\n"))); err != nil {
		return err
	}
	sum := md5.Sum(text)
	if err := w.put(ctx, w.manifestKey(), "application/json", text); err != nil {
		return err
	}
	return w.put(ctx, strings.TrimSuffix(w.manifestKey(), "json")+"checksum", "text/plain", []byte(hex.EncodeToString(sum[:])))
}

// may asks whether S3 may write an object of the inventory.
func (w *inventory) may(ctx context.Context, key string) error {
	return w.service.mayServe(ctx, w.to, key, inventoryService, bucketARN(w.bucket.Name), w.bucket.AccountID, "bucket-owner-full-control")
}

func (w *inventory) put(ctx context.Context, key, contentType string, body []byte) error {
	if err := w.may(ctx, key); err != nil {
		return err
	}
	s := w.service
	return s.putLog(ctx, w.to, key, contentType, owned(s.canonical(s.store.Snapshot(), w.to.AccountID)), body)
}
