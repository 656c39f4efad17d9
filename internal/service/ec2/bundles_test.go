package ec2

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/bundle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// signer makes a certificate, and a manifest that it signed.
func signer(t *testing.T) (*x509.Certificate, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "me"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := bundle.Write(bundle.Source{
		Image: bytes.NewReader([]byte("disk")), Size: 4, Name: "disk", Kind: bundle.Machine, Certificate: cert, Key: key, Cloud: cert, Random: rand.Reader,
	}, func(string) (io.WriteCloser, error) { return discard{io.Discard}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(raw)
}

func TestRegisterImage(t *testing.T) {
	c := newCloud(t)
	cert, manifest := signer(t)
	c.content = map[string]string{"disks/m.manifest.xml": manifest, "disks/bad": strings.Replace(manifest, "x86_64", "i386", 1), "disks/rubbish": "<x>"}
	for key := range c.content {
		c.objects[alice+"/"+key] = true
		c.objects[bob+"/"+key] = true
	}
	register := func(in shape.RegisterImageRequest) (*shape.RegisterImageResult, error) {
		return c.RegisterImage(c.alice, &in)
	}
	_, err := register(shape.RegisterImageRequest{ImageLocation: "disks/m.manifest.xml"})
	c.code("no certificate", err, "InvalidManifest")
	put := func(account, user, id string, active bool) {
		c.write(func(tx *store.Tx) error {
			return store.SigningCertificates.Put(tx, &resource.SigningCertificate{ID: "C" + account + user, AccountID: account, UserName: user, UserID: id, DER: cert.Raw, Active: active})
		})
	}
	put(bob, "", "", true)
	put(alice, "", "", false)
	put(alice, "gone", "AIDAGONE", true)
	_, err = register(shape.RegisterImageRequest{ImageLocation: "disks/m.manifest.xml"})
	c.code("certificates of others, inactive ones, those of users that are gone", err, "InvalidManifest")
	put(alice, "", "", true)
	for location, code := range map[string]string{
		"": "MissingParameter", "disks": "InvalidParameterValue", "disks/none": "InvalidManifest", "disks/rubbish": "InvalidManifest", "disks/bad": "InvalidManifest",
	} {
		_, err := register(shape.RegisterImageRequest{ImageLocation: location})
		c.code("location "+location, err, code)
	}
	_, err = register(shape.RegisterImageRequest{ImageLocation: "disks/m.manifest.xml", KernelId: "aki-12345678"})
	c.code("no such kernel", err, "InvalidAMIID.NotFound")
	out, err := register(shape.RegisterImageRequest{ImageLocation: "disks/m.manifest.xml", Name: "mine"})
	c.code("register", err, "")
	_, err = register(shape.RegisterImageRequest{ImageLocation: "disks/m.manifest.xml", Name: "mine"})
	c.code("name twice", err, "InvalidAMIName.Duplicate")
	list, err := c.DescribeImages(c.alice, &shape.DescribeImagesRequest{ImageIds: []string{out.ImageId}})
	c.code("describe", err, "")
	if img := list.Images[0]; img.State != "pending" || img.ImageLocation != "disks/m.manifest.xml" || img.ImageType != "machine" {
		t.Errorf("%+v", img)
	}
	run := func() error {
		_, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: out.ImageId, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
		return err
	}
	c.code("launch too early", run(), "InvalidAMIID.Unavailable")
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, out.ImageId)
		img.State, img.FileSystem = resource.ImageAvailable, true
		return store.Images.Put(tx, &img)
	})
	c.code("a file system without a kernel", run(), "InvalidParameterCombination")
	c.write(func(tx *store.Tx) error {
		k := &resource.Image{Owned: resource.Owned{AccountID: bob, Region: east}, ID: "aki-11111111", Kind: "kernel", State: resource.ImageAvailable, Public: true}
		if err := store.Images.Put(tx, k); err != nil {
			return err
		}
		return store.Settings.Put(tx, &resource.Setting{Name: DefaultKernel, Value: `"eki-11111111"`})
	})
	c.code("the default kernel", run(), "")
}
