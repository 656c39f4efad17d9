package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/importmanifest"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// conversionLife is how long a conversion task waits for its parts.
const conversionLife = 7 * 24 * time.Hour

// s3Object gives the bucket and key that a URL of this cloud's S3 names. Nothing is fetched from it.
func s3Object(raw string) (bucket, key string, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", false
	}
	path := strings.TrimPrefix(u.Path, "/")
	for _, old := range []string{"services/objectstorage/", "services/Walrus/"} { // Eucalyptus's
		path = strings.TrimPrefix(path, old)
	}
	if bucket, _, ok = strings.Cut(u.Hostname(), ".s3."); ok {
		return bucket, path, path != ""
	}
	bucket, key, ok = strings.Cut(path, "/")
	return bucket, key, ok && bucket != "" && key != ""
}

// ImportVolume begins to make a volume of a disk image that is in S3 in parts, or will be.
func (s *Service) ImportVolume(ctx context.Context, in *shape.ImportVolumeRequest) (*shape.ImportVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.AvailabilityZone == "":
		return nil, errMissing("AvailabilityZone")
	case len(in.Description) > maxDescription:
		return nil, awserr.New("InvalidParameterValue", "The description has more than %d characters.", maxDescription)
	}
	disk, v, err := s.converted(ctx, in.Image, in.Volume)
	if err != nil {
		return nil, err
	}
	v.Zone = in.AvailabilityZone
	task := &resource.ImportTask{
		Owned: s.owned(info, nil), ID: s.IDs.Resource(conversions.prefix), Description: in.Description, Disks: []resource.ImportDisk{disk},
		Status: importActive, StatusMessage: "Pending",
		Volumes: []resource.ImportVolume{v},
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if z := store.Zones.Get(tx, in.AvailabilityZone); z == nil || z.Region != info.Region {
			return awserr.New("InvalidZone.NotFound", "The zone '%s' does not exist.", in.AvailabilityZone)
		}
		if err := checkRoom(tx, v.Zone, v.SizeGiB); err != nil {
			return err
		}
		return store.ImportTasks.Put(tx, task)
	})
	if err != nil {
		return nil, err
	}
	out := shapeConversion(s.Store.Snapshot(), task)
	return &shape.ImportVolumeResult{ConversionTask: &out}, nil
}

// converted gives the disk of a conversion and the volume that it becomes, as far as requests say it.
func (s *Service) converted(ctx context.Context, image *shape.DiskImageDetail, volume *shape.VolumeDetail) (disk resource.ImportDisk, v resource.ImportVolume, err error) {
	switch {
	case image == nil || image.ImportManifestUrl == "":
		return disk, v, errMissing("Image.ImportManifestUrl")
	case image.Format == "":
		return disk, v, errMissing("Image.Format")
	case volume == nil || volume.Size == 0:
		return disk, v, errMissing("Volume.Size")
	case volume.Size < 1 || volume.Size > 16384:
		return disk, v, awserr.New("InvalidParameterValue", "Volume of %dGiB is invalid: it must have from 1 to 16384 GiB", volume.Size)
	}
	if err := oneOf("format", strings.ToUpper(image.Format), "VMDK", "RAW", "VHD"); err != nil {
		return disk, v, err
	}
	if disk, err = s.manifest(ctx, image); err != nil {
		return disk, v, err
	}
	return disk, resource.ImportVolume{
		ID: s.IDs.Resource(volumes.prefix), SizeGiB: int(volume.Size), Bytes: image.Bytes, URL: image.ImportManifestUrl, Expires: s.now().Add(conversionLife),
	}, nil
}

// manifest reads the manifest of an image. Its parts need not be there yet, but the caller must be allowed to read what
// it names.
func (s *Service) manifest(ctx context.Context, in *shape.DiskImageDetail) (disk resource.ImportDisk, err error) {
	wrong := func(format string, args ...any) error {
		return awserr.New("InvalidParameter", "The manifest at Image.ImportManifestUrl cannot be used: "+format, args...)
	}
	bucket, key, ok := s3Object(in.ImportManifestUrl)
	if !ok {
		return disk, wrong("the URL names no object in S3")
	}
	raw, err := s.Objects.Read(ctx, bucket, key, importmanifest.MaxBytes)
	if err != nil {
		if awserr.Code(err) == "" {
			return disk, err
		}
		return disk, wrong("s3://%s/%s does not exist in this cloud, or cannot be read by the caller", bucket, key)
	}
	m, err := importmanifest.Parse(raw)
	var bad *importmanifest.Invalid
	switch {
	case errors.As(err, &bad):
		return disk, wrong("%s", bad.Reason)
	case err != nil:
		return disk, err
	case m.Format != strings.ToLower(in.Format):
		return disk, wrong("it is of the format %.20q, and the request says %s", m.Format, in.Format)
	case m.Size != in.Bytes:
		return disk, wrong("its image has %d bytes, and the request says %d", m.Size, in.Bytes)
	}
	for _, p := range m.Parts {
		err := s.Objects.Exists(ctx, bucket, p.Key)
		switch code := awserr.Code(err); {
		case err == nil, code == "NoSuchKey", code == "NotFound":
		case code == "":
			return disk, err
		default:
			return disk, wrong("the part %s cannot be read by the caller", p.Key)
		}
	}
	sum := sha256.Sum256(raw)
	return resource.ImportDisk{Format: m.Format, Bucket: bucket, Key: key, Manifest: hex.EncodeToString(sum[:])}, nil
}

// AddVolume puts a volume that was imported into a transaction, within the quotas of whoever asked for it.
func (s *Service) AddVolume(tx *store.Tx, v *resource.Volume) error {
	info := requester(tx, &v.Owned, "ImportVolume")
	return s.Quotas.Within(tx, info, func(tx *store.Tx) error { return s.addVolume(tx, v) })
}

// shapeConversion shows a conversion task.
func shapeConversion(_ store.Reader, t *resource.ImportTask) shape.ConversionTask {
	state := map[string]string{importActive: "active", importDeleting: "cancelling", importDeleted: "cancelled", importCompleted: "completed"}[t.Status]
	out := shape.ConversionTask{ConversionTaskId: t.ID, ExpirationTime: awsTime(t.Volumes[0].Expires), State: state, StatusMessage: t.StatusMessage, Tags: shapeTags(t.Tags)}
	if t.InstanceID != "" {
		out.ImportInstance = &shape.ImportInstanceTaskDetails{Description: t.Description, InstanceId: t.InstanceID, Platform: t.Platform}
	}
	for n, v := range t.Volumes {
		// Disks are converted one after the other, each in as large a share of the task.
		done := v.Bytes * int64(min(100, max(0, t.Progress*len(t.Volumes)-100*n))) / 100
		image := &shape.DiskImageDescription{Format: strings.ToUpper(t.Disks[n].Format), ImportManifestUrl: v.URL, Size: v.Bytes}
		volume := &shape.DiskImageVolumeDescription{Size: int64(v.SizeGiB)}
		if t.Status == importCompleted {
			volume.Id = v.ID
		}
		if out.ImportInstance == nil {
			out.ImportVolume = &shape.ImportVolumeTaskDetails{AvailabilityZone: v.Zone, BytesConverted: done, Description: t.Description, Volume: volume, Image: image}
			return out
		}
		out.ImportInstance.Volumes = append(out.ImportInstance.Volumes, shape.ImportInstanceVolumeDetailItem{
			AvailabilityZone: v.Zone, BytesConverted: done, Description: t.Disks[n].Description, Volume: volume, Image: image, Status: state, StatusMessage: t.StatusMessage,
		})
	}
	return out
}

// conversionKind gives the kind of a conversion task with this id.
func conversionKind(id string) *kind[resource.ImportTask] {
	if strings.HasPrefix(id, instanceImports.prefix) {
		return instanceImports
	}
	return conversions
}

// DescribeConversionTasks lists the tasks of ImportVolume and ImportInstance.
func (s *Service) DescribeConversionTasks(ctx context.Context, in *shape.DescribeConversionTasksRequest) (*shape.DescribeConversionTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	found := []*resource.ImportTask{}
	if len(in.ConversionTaskIds) == 0 {
		found, _, err = list(s, r, info, conversions, selection[resource.ImportTask]{op: "DescribeConversionTasks", match: (*resource.ImportTask).Conversion})
	}
	for _, id := range in.ConversionTaskIds {
		task, e := conversionKind(id).find(r, info, id)
		if e != nil {
			return nil, e
		}
		found = append(found, task)
	}
	return &shape.DescribeConversionTasksResult{ConversionTasks: showAll(r, found, shapeConversion)}, err
}

// CancelConversionTask asks the importer to give a task up.
func (s *Service) CancelConversionTask(ctx context.Context, in *shape.CancelConversionTaskRequest) (*shape.CancelConversionTaskResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ConversionTaskId == "" {
		return nil, errMissing("conversionTaskId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		task, err := conversionKind(in.ConversionTaskId).find(tx, info, in.ConversionTaskId)
		if err != nil {
			return err
		}
		return cancelImport(tx, task)
	})
	return &shape.CancelConversionTaskResult{}, err
}
