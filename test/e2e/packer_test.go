package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPacker: Debian's packer makes an image with its amazon-ebs builder: it finds the source image, makes a key pair and a
// security group, launches, works in the guest by SSH, stops it, makes the image, tags it and leaves nothing behind.
func TestPacker(t *testing.T) {
	c := newCloudWith(t, "--import-root-device", "ebs")
	c.tinyImage()
	dir := t.TempDir()
	here, err := filepath.Abs("packer")
	if err != nil {
		t.Fatal(err)
	}
	file, made := filepath.Join(dir, "file"), filepath.Join(dir, "made.json")
	if err := os.WriteFile(file, []byte("uploaded by packer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := c.ns.command(ctx, "/usr/bin/packer", "build", "-color=false", "-var", "endpoint="+c.url, "-var", "scp="+filepath.Join(here, "scp"),
		"-var", "file="+file, "-var", "manifest="+made, filepath.Join(here, "template.json"))
	cmd.Env = append(c.env, "CHECKPOINT_DISABLE=1", "PACKER_CONFIG_DIR="+dir, "PACKER_CACHE_DIR="+dir, "AWS_POLL_DELAY_SECONDS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packer: %v\n%s", err, out)
	}
	var manifest struct {
		Builds []struct {
			ID string `json:"artifact_id"`
		}
	}
	text, err := os.ReadFile(made)
	if err == nil {
		err = json.Unmarshal(text, &manifest)
	}
	if err != nil || len(manifest.Builds) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	_, image, _ := strings.Cut(manifest.Builds[0].ID, ":")
	if got := c.text("Images[0].[State,Description,Tags[0].Value,BlockDeviceMappings[0].Ebs.VolumeSize]", "describe-images", "--image-ids", image); got != "available\tmade by packer\tpacker\t2" {
		t.Errorf("the image: %s", got)
	}
	for what, list := range map[string][]string{
		"key pairs":       {"KeyPairs[].KeyName", "describe-key-pairs"},
		"security groups": {"SecurityGroups[?GroupName!='default'].GroupName", "describe-security-groups"},
		"instances":       {"Reservations[].Instances[?State.Name!='terminated'][].InstanceId", "describe-instances"},
		"volumes":         {"Volumes[].VolumeId", "describe-volumes"},
	} {
		if left := c.text(list[0], list[1:]...); left != "" {
			t.Errorf("packer left %s: %s", what, left)
		}
	}
	key := c.keyPair("k")
	c.openPort("22")
	i := c.launch(image, "k", "1")[0]
	if got := c.login(key, i, "cat /etc/packed /etc/uploaded"); got != "by amazon-ebs\nuploaded by packer" {
		t.Errorf("the image's instance: %q", got)
	}
	c.terminate(i.ID)
}
