package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestVolumes: an instance from a volume gets a second one while it runs, uses it, sees it grow, and gives it back;
// stopped and started it is another machine with the same disks.
func TestVolumes(t *testing.T) {
	c := newCloudWith(t, "--import-root-device", "ebs")
	image, key := c.tinyImage(), c.keyPair("ebs")
	c.openPort("22")
	if root := c.text("Images[0].[RootDeviceType,BlockDeviceMappings[0].Ebs.VolumeSize]", "describe-images", "--image-ids", image); root != "ebs\t1" {
		t.Errorf("image: %s", root)
	}
	i := c.launch(image, "ebs", "1")[0]
	root := c.text("Reservations[0].Instances[0].[RootDeviceType,BlockDeviceMappings[0].Ebs.VolumeId]", "describe-instances", "--instance-ids", i.ID)
	if !strings.HasPrefix(root, "ebs\tvol-") {
		t.Fatalf("instance: %s", root)
	}
	vol := c.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "1", "--volume-type", "gp3")
	c.wait("volume-available", "--volume-ids", vol)
	c.login(key, i, "true")
	c.aws("ec2", "attach-volume", "--volume-id", vol, "--instance-id", i.ID, "--device", "/dev/sdf")
	state := func(query string) string { return c.text("Volumes[0]."+query, "describe-volumes", "--volume-ids", vol) }
	eventually(t, "the volume is attached", time.Minute, func() bool { return state("Attachments[0].State") == "attached" })
	serial := strings.Replace(vol, "-", "", 1)
	disk := c.login(key, i, "for d in /sys/block/vd*; do [ $(cat $d/serial) = "+serial+" ] && echo ${d##*/}; done")
	if !strings.HasPrefix(disk, "vd") {
		t.Fatalf("the guest has no disk %s: %q", serial, disk)
	}
	c.login(key, i, "echo written > /dev/"+disk+"; sync; echo kept > /root/kept; sync")
	c.refused("VolumeInUse", "ec2", "delete-volume", "--volume-id", vol)

	c.aws("ec2", "modify-volume", "--volume-id", vol, "--size", "8", "--iops", "4000")
	eventually(t, "the volume is modified", time.Minute, func() bool {
		return c.text("VolumesModifications[0].ModificationState", "describe-volumes-modifications", "--volume-ids", vol) == "completed"
	})
	if got := c.login(key, i, "cat /sys/block/"+disk+"/size"); got != "16777216" {
		t.Errorf("the guest sees %s sectors", got)
	}

	boot := c.login(key, i, "cat /proc/sys/kernel/random/boot_id")
	c.aws("ec2", "stop-instances", "--instance-ids", i.ID)
	c.wait("instance-stopped", "--instance-ids", i.ID)
	stopped := c.describe(i.ID)[0]
	if stopped.Public != "" || stopped.Private != i.Private || state("State") != "in-use" {
		t.Errorf("stopped: %+v, volume %s", stopped, state("State"))
	}
	c.aws("ec2", "start-instances", "--instance-ids", i.ID)
	c.wait("instance-running", "--instance-ids", i.ID)
	again := c.describe(i.ID)[0]
	if out := c.login(key, again, "cat /proc/sys/kernel/random/boot_id /root/kept; head -c 7 /dev/"+disk); !strings.HasSuffix(out, "kept\nwritten") || strings.HasPrefix(out, boot) {
		t.Errorf("after the start: %q", out)
	}

	c.aws("ec2", "detach-volume", "--volume-id", vol)
	c.wait("volume-available", "--volume-ids", vol)
	if out := c.login(key, again, "ls /sys/block"); strings.Contains(out, disk) {
		t.Errorf("the guest still has %s: %s", disk, out)
	}
	c.aws("ec2", "delete-volume", "--volume-id", vol)
	c.wait("volume-deleted", "--volume-ids", vol)

	// An instance from a volume that its guest powers off is stopped.
	c.ssh(key, again.Public, "poweroff")
	c.wait("instance-stopped", "--instance-ids", i.ID)
	c.terminate(i.ID)
	eventually(t, "the root volume is gone", time.Minute, func() bool {
		return c.text("length(Volumes)", "describe-volumes") == "0"
	})
}
