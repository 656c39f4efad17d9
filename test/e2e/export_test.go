package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An image goes out as a VMDK file, comes in again, and boots; a disk becomes a snapshot, and that a volume.
func TestExportAndBack(t *testing.T) {
	c := newCloud(t)
	ami := c.tinyImage()
	c.aws("s3", "mb", "s3://exports")
	task := c.text("ExportImageTaskId", "export-image", "--image-id", ami, "--disk-image-format", "VMDK", "--s3-export-location", "S3Bucket=exports,S3Prefix=out/")
	eventually(t, "the export", 2*time.Minute, func() bool {
		state := c.text("ExportImageTasks[0].[Status,StatusMessage]", "describe-export-image-tasks", "--export-image-task-ids", task)
		if strings.HasPrefix(state, "deleted") {
			t.Fatal(state)
		}
		return strings.HasPrefix(state, "completed")
	})
	file := filepath.Join(t.TempDir(), "disk.vmdk")
	c.aws("s3", "cp", "--no-progress", "s3://exports/out/"+task+".vmdk", file)
	if out := must(t, "qemu-img", "info", "-f", "vmdk", file); !strings.Contains(out, "streamOptimized") {
		t.Errorf("exported: %s", out)
	}
	again, failure := c.importImage("vmdk", "exports", "out/"+task+".vmdk")
	if failure != "" {
		t.Fatal(failure)
	}
	pair := c.keyPair("export")
	c.openPort("22")
	i := c.launch(again, "export", "1")[0]
	if out := c.login(pair, i, "echo $((6*7))"); !strings.HasPrefix(out, "42") {
		t.Errorf("in the guest: %q", out)
	}

	task = c.text("ImportTaskId", "import-snapshot", "--disk-container", "Format=vmdk,UserBucket={S3Bucket=exports,S3Key=out/"+task+".vmdk}")
	var detail []string
	eventually(t, "the snapshot", time.Minute, func() bool {
		detail = strings.Fields(c.text("ImportSnapshotTasks[0].SnapshotTaskDetail.[Status,SnapshotId]", "describe-import-snapshot-tasks", "--import-task-ids", task))
		return detail[0] == "completed"
	})
	zone := c.text("AvailabilityZones[0].ZoneName", "describe-availability-zones")
	volume := c.text("VolumeId", "create-volume", "--snapshot-id", detail[1], "--availability-zone", zone)
	c.wait("volume-available", "--volume-ids", volume)
	c.aws("ec2", "attach-volume", "--volume-id", volume, "--instance-id", i.ID, "--device", "/dev/sdf")
	if out := c.login(pair, i, "until [ -b /dev/vdb ]; do sleep 0.2; done; cmp -n 512 /dev/vda /dev/vdb && echo same"); !strings.Contains(out, "same") {
		t.Errorf("the volume: %q", out)
	}
	c.refused("UnsupportedOperation", "ec2", "import-snapshot", "--encrypted", "--disk-container", "Format=raw,UserBucket={S3Bucket=exports,S3Key=x}")
}
