package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestSnapshots: a snapshot of a volume in use is of the moment of the call; one of a detached volume, and one of the
// root volume, are completed too; the cloud's sudden death in between harms none.
func TestSnapshots(t *testing.T) {
	c := newCloudWith(t, "--import-root-device", "ebs")
	image, key := c.tinyImage(), c.keyPair("snap")
	c.openPort("22")
	i := c.launch(image, "snap", "1")[0]
	vol := c.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "1")
	c.wait("volume-available", "--volume-ids", vol)
	c.login(key, i, "true")
	c.aws("ec2", "attach-volume", "--volume-id", vol, "--instance-id", i.ID, "--device", "/dev/sdf")
	disk := strings.TrimPrefix(c.diskOf(key, i, vol), "/dev/")
	c.login(key, i, "echo first > /dev/"+disk+"; dd if=/dev/urandom of=/dev/"+disk+" bs=1M seek=10 count=40; sync")
	first := c.text("SnapshotId", "create-snapshot", "--volume-id", vol, "--description", "first")
	c.login(key, i, "echo later > /dev/"+disk+"; sync")
	c.proc.kill()
	c.up()
	all := c.text("Snapshots[].SnapshotId", "create-snapshots", "--instance-specification", "InstanceId="+i.ID)
	for _, snap := range append(strings.Fields(all), first) {
		c.wait("snapshot-completed", "--snapshot-ids", snap)
	}
	// A volume of the first snapshot is there at once, and has what was on the disk then; also after the cloud's death.
	sum := c.login(key, i, "echo first > /tmp/first; dd if=/tmp/first of=/dev/"+disk+" conv=notrunc 2>/dev/null; sync; head -c 54525952 /dev/"+disk+" | sha256sum")
	began := time.Now()
	again := c.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--snapshot-id", first)
	c.wait("volume-available", "--volume-ids", again)
	t.Logf("volume of a snapshot available after %v, as the aws CLI sees it", time.Since(began))
	c.aws("ec2", "attach-volume", "--volume-id", again, "--instance-id", i.ID, "--device", "/dev/sdg")
	copied := strings.TrimPrefix(c.diskOf(key, i, again), "/dev/")
	c.proc.kill()
	c.up()
	if got := c.login(key, i, "head -c 54525952 /dev/"+copied+" | sha256sum"); got != sum {
		t.Errorf("the volume of the snapshot has %q, the disk had %q", got, sum)
	}
	// An image of the running instance: restarted for it, or not.
	mine := c.text("ImageId", "create-image", "--instance-id", i.ID, "--name", "mine", "--block-device-mappings", "DeviceName=/dev/sdg,NoDevice=")
	c.wait("image-available", "--image-ids", mine)
	fresh := c.launch(mine, "snap", "1")[0]
	copied = ""
	eventually(t, "the new instance has its data volume", time.Minute, func() bool {
		copied = c.login(key, fresh, "for d in /sys/block/vd*; do case $(head -c 5 /dev/${d##*/}) in first) echo ${d##*/};; esac; done; true")
		return copied != ""
	})
	if got := c.login(key, fresh, "head -c 54525952 /dev/"+copied+" | sha256sum"); got != sum {
		t.Errorf("the new instance's data volume has %q, the instance's %q", got, sum)
	}
	c.login(key, i, "true") // it is back
	// Back to the launch state: the guest starts on a new root volume, the data volume stays.
	serial := c.login(key, i, "cat /sys/block/vda/serial")
	task := c.text("ReplaceRootVolumeTask.ReplaceRootVolumeTaskId", "create-replace-root-volume-task", "--instance-id", i.ID, "--delete-replaced-root-volume")
	eventually(t, "the root volume is replaced", 2*time.Minute, func() bool {
		return c.text("ReplaceRootVolumeTasks[0].TaskState", "describe-replace-root-volume-tasks", "--replace-root-volume-task-ids", task) == "succeeded"
	})
	root := c.text("Reservations[0].Instances[0].BlockDeviceMappings[?DeviceName==`/dev/sda1` || DeviceName==`/dev/xvda`].Ebs.VolumeId", "describe-instances", "--instance-ids", i.ID)
	if now := c.login(key, i, "cat /sys/block/vda/serial"); now == serial || now != strings.Replace(root, "-", "", 1)[:20] {
		t.Errorf("the guest's disk was %s and is %s; the root volume is %s", serial, now, root)
	}
	c.aws("ec2", "detach-volume", "--volume-id", vol)
	c.wait("volume-available", "--volume-ids", vol)
	last := c.text("SnapshotId", "create-snapshot", "--volume-id", vol)
	c.wait("snapshot-completed", "--snapshot-ids", last)
	c.aws("ec2", "delete-snapshot", "--snapshot-id", last)
	c.refused("InvalidSnapshot.NotFound", "ec2", "describe-snapshots", "--snapshot-ids", last)
}
