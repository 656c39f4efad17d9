package ec2

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/bundle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Names of cloud settings that hold image ids: what boots a bundled file system that names no kernel.
const (
	DefaultKernel  = "default-kernel"
	DefaultRamdisk = "default-ramdisk"
)

// certificates gives an account's active signing certificates.
func certificates(r store.Reader, account string) []*x509.Certificate {
	var out []*x509.Certificate
	for c := range store.SigningCertificatesByAccount.By(r, account) {
		if !c.Active {
			continue
		}
		if c.UserID != "" { // a certificate ends with its user
			if u := store.Users.Get(r, store.UserKey(account, c.UserName)); u == nil || u.ID != c.UserID {
				continue
			}
		}
		if cert, err := x509.ParseCertificate(c.DER); err == nil {
			out = append(out, cert)
		}
	}
	return out
}

func errManifest(format string, args ...any) *awserr.Error {
	return awserr.New("InvalidManifest", format, args...)
}

// RegisterImage makes an image of snapshots, or of a bundle in S3, of which the manifest is checked now, the parts when they are read.
func (s *Service) RegisterImage(ctx context.Context, in *shape.RegisterImageRequest) (*shape.RegisterImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ImageLocation == "" {
		if len(in.BlockDeviceMappings) > 0 || in.RootDeviceName != "" {
			return s.registerSnapshots(ctx, info, in)
		}
		return nil, errMissing("ImageLocation")
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(in.ImageLocation, "/"), "/")
	switch {
	case !ok || bucket == "" || key == "":
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter imageLocation is invalid: it must be BUCKET/NAME.manifest.xml.", in.ImageLocation)
	case len(in.Description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	case in.Name != "" && (len(in.Name) < 3 || len(in.Name) > 128):
		return nil, awserr.New("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long.")
	}
	for _, e := range []error{
		oneOf("architecture", in.Architecture, "x86_64"), oneOf("virtualizationType", in.VirtualizationType, "hvm", "paravirtual"),
		oneOf("bootMode", in.BootMode, "legacy-bios", "uefi", "uefi-preferred"), oneOf("sriovNetSupport", in.SriovNetSupport, "simple"), checkMappings(in.BlockDeviceMappings),
	} {
		if e != nil {
			return nil, e
		}
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "image")
	if err != nil {
		return nil, err
	}
	raw, err := s.Objects.Read(ctx, bucket, key, bundle.MaxManifest)
	if err != nil {
		if awserr.Code(err) == "" {
			return nil, err
		}
		return nil, errManifest("The manifest %s/%s does not exist, or cannot be read by the caller.", bucket, key).Because(err)
	}
	m, err := bundle.Parse(raw)
	var bad *bundle.Invalid
	if errors.As(err, &bad) {
		return nil, errManifest("%s", bad.Reason)
	}
	if err != nil {
		return nil, err
	}
	if err := addCodes(&resource.Image{}, m.ProductCodes); err != nil {
		return nil, errManifest("The manifest has product codes that are none.")
	}
	made := s.bundled(info, in, m, tags["image"])
	sum := sha256.Sum256(raw)
	made.Bundle = &resource.ImageBundle{Bucket: bucket, Manifest: key, SHA256: hex.EncodeToString(sum[:])}
	made.Location = bucket + "/" + key
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		certs := certificates(tx, info.AccountID)
		if s.BundleKey != nil && m.User == info.AccountID { // the cloud's own, of an instance of the account's
			certs = append(certs, &x509.Certificate{PublicKey: s.BundleKey})
		}
		switch {
		case len(certs) == 0:
			return errManifest("The account has no active signing certificate by which the manifest's signature could be checked: upload yours with iam UploadSigningCertificate.")
		case !m.Verify(certs):
			return errManifest("The manifest's signature is of none of the account's signing certificates: upload the one with which the image was bundled, or bundle it anew.")
		case store.ImagesByName.One(tx, ownerKey(info)+"/"+made.Name) != nil:
			return awserr.New("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", made.Name, store.ImagesByName.One(tx, ownerKey(info)+"/"+made.Name).ID)
		}
		for _, part := range [][2]string{{"kernel", made.KernelID}, {"ramdisk", made.RamdiskID}} {
			if part[1] == "" {
				continue
			}
			img := store.Images.Get(tx, part[1])
			if img == nil || img.Kind != part[0] || !visible(info, img) {
				return images.notFound(part[1])
			}
		}
		return store.Images.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	return &shape.RegisterImageResult{ImageId: made.ID}, nil
}

// bundled gives the image of a bundle: what the request says counts before what the manifest says.
func (s *Service) bundled(info *call.Info, in *shape.RegisterImageRequest, m *bundle.Manifest, tags resource.Tags) *resource.Image {
	img := &resource.Image{
		Owned: s.owned(info, tags), Kind: m.Kind, Name: in.Name, Description: in.Description, Architecture: "x86_64", BootMode: in.BootMode,
		State: resource.ImagePending, RootDeviceType: "instance-store", RootDeviceName: in.RootDeviceName, ENA: isTrue(in.EnaSupport), SRIOV: in.SriovNetSupport,
	}
	img.ID = s.IDs.Resource(imagePrefix(m.Kind))
	if img.Name == "" {
		img.Name = img.ID
	}
	if m.Kind == bundle.Machine {
		img.ProductCodes = m.ProductCodes
		img.KernelID, img.RamdiskID = imageID(m.KernelID), imageID(m.RamdiskID)
		if in.KernelId != "" {
			img.KernelID = imageID(in.KernelId)
		}
		if in.RamdiskId != "" {
			img.RamdiskID = imageID(in.RamdiskId)
		}
		if img.RootDeviceName == "" {
			img.RootDeviceName = defaultRootDevice
		}
	}
	return img
}

// defaultPart gives the cloud's default kernel or ramdisk for images that are file systems; "" if there is none.
func defaultPart(r store.Reader, img *resource.Image, setting, kind string) string {
	if !img.FileSystem {
		return ""
	}
	set := store.Settings.Get(r, setting)
	if set == nil {
		return ""
	}
	id := imageID(strings.Trim(set.Value, "\""))
	if k := store.Images.Get(r, id); k == nil || k.Kind != kind || k.State != resource.ImageAvailable {
		return ""
	}
	return id
}
