package ec2

import (
	"fmt"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestImportVolume(t *testing.T) {
	c := newCloud(t)
	manifest := func(key string) string {
		return fmt.Sprintf(`<manifest><version>2010-11-15</version><file-format>VMDK</file-format><import><size>10</size><volume-size>1</volume-size>`+
			`<parts count="1"><part index="0"><byte-range start="0" end="9"/><key>%s</key></part></parts></import></manifest>`, key)
	}
	c.content = map[string]string{"disks/m.xml": manifest("part0"), "disks/stolen.xml": manifest("secret")}
	c.objects[alice+"/disks/m.xml"], c.objects[alice+"/disks/stolen.xml"] = true, true
	c.denied = map[string]bool{"disks/secret": true}
	request := func(change ...func(*shape.ImportVolumeRequest)) *shape.ImportVolumeRequest {
		in := &shape.ImportVolumeRequest{
			AvailabilityZone: "us-east-1a", Description: "d", Volume: &shape.VolumeDetail{Size: 8},
			Image: &shape.DiskImageDetail{Format: "VMDK", Bytes: 10, ImportManifestUrl: "https://s3.cloud.test/disks/m.xml?Signature=x"},
		}
		for _, f := range change {
			f(in)
		}
		return in
	}
	for name, x := range map[string]struct {
		change func(*shape.ImportVolumeRequest)
		code   string
	}{
		"virtual host": {func(r *shape.ImportVolumeRequest) {
			r.Image.ImportManifestUrl = "http://disks.s3.us-east-1.cloud.test/m.xml"
		}, ""},
		"Eucalyptus's": {func(r *shape.ImportVolumeRequest) {
			r.Image.ImportManifestUrl = "http://x:8773/services/objectstorage/disks/m.xml"
		}, ""},
		"metadata service": {func(r *shape.ImportVolumeRequest) {
			r.Image.ImportManifestUrl = "http://169.254.169.254/latest/meta-data"
		}, "InvalidParameter"},
		"file":            {func(r *shape.ImportVolumeRequest) { r.Image.ImportManifestUrl = "file:///etc/passwd" }, "InvalidParameter"},
		"unreadable part": {func(r *shape.ImportVolumeRequest) { r.Image.ImportManifestUrl = "https://s3/disks/stolen.xml" }, "InvalidParameter"},
		"no URL":          {func(r *shape.ImportVolumeRequest) { r.Image.ImportManifestUrl = "" }, "MissingParameter"},
		"another size":    {func(r *shape.ImportVolumeRequest) { r.Image.Bytes = 11 }, "InvalidParameter"},
		"another format":  {func(r *shape.ImportVolumeRequest) { r.Image.Format = "RAW" }, "InvalidParameter"},
		"unknown format":  {func(r *shape.ImportVolumeRequest) { r.Image.Format = "OVA" }, "InvalidParameterValue"},
		"no zone":         {func(r *shape.ImportVolumeRequest) { r.AvailabilityZone = "mars" }, "InvalidZone.NotFound"},
		"huge":            {func(r *shape.ImportVolumeRequest) { r.Volume.Size = 1 << 40 }, "InvalidParameterValue"},
	} {
		c.code(name, second(c.ImportVolume(c.alice, request(x.change))), x.code)
	}
	c.code("bob", second(c.ImportVolume(c.bob, request())), "InvalidParameter")
	made, err := c.ImportVolume(c.alice, request())
	if err != nil {
		t.Fatal(err)
	}
	id := made.ConversionTask.ConversionTaskId
	if !strings.HasPrefix(id, "import-vol-") || made.ConversionTask.State != "active" {
		t.Errorf("%+v", made)
	}
	describe := func() shape.ConversionTask {
		t.Helper()
		out, err := c.DescribeConversionTasks(c.alice, &shape.DescribeConversionTasksRequest{ConversionTaskIds: []string{id}})
		if err != nil || len(out.ConversionTasks) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		return out.ConversionTasks[0]
	}
	set := func(f func(*resource.ImportTask)) {
		c.write(func(tx *store.Tx) error {
			next := *store.ImportTasks.Get(tx, id)
			f(&next)
			return store.ImportTasks.Put(tx, &next)
		})
	}
	set(func(t *resource.ImportTask) { t.Progress = 50 })
	if v := describe().ImportVolume; v.BytesConverted != 5 || v.Volume.Id != "" || v.Volume.Size != 8 || v.Image.Size != 10 || v.Image.Format != "VMDK" {
		t.Errorf("%+v", v)
	}
	if out, err := c.DescribeConversionTasks(c.bob, &shape.DescribeConversionTasksRequest{}); err != nil || len(out.ConversionTasks) != 0 {
		t.Errorf("%+v %v", out, err)
	}
	if out, err := c.DescribeImportImageTasks(c.alice, &shape.DescribeImportImageTasksRequest{}); err != nil || len(out.ImportImageTasks) != 0 {
		t.Errorf("%+v %v", out, err)
	}
	cancel := func() error {
		return second(c.CancelConversionTask(c.alice, &shape.CancelConversionTaskRequest{ConversionTaskId: id}))
	}
	c.code("bob cancels", second(c.CancelConversionTask(c.bob, &shape.CancelConversionTaskRequest{ConversionTaskId: id})), "InvalidConversionTaskId")
	c.code("cancel", cancel(), "")
	c.code("cancel again", cancel(), "")
	if got := describe().State; got != "cancelling" {
		t.Error(got)
	}
	set(func(t *resource.ImportTask) { t.Status = "completed" })
	c.code("cancel what is done", cancel(), "IncorrectState")
	if v := describe(); v.State != "completed" || !strings.HasPrefix(v.ImportVolume.Volume.Id, "vol-") {
		t.Errorf("%+v", v)
	}
	add := func(gib int) error {
		return c.Store.Update(t.Context(), func(tx *store.Tx) error {
			return c.AddVolume(tx, &resource.Volume{
				Owned: resource.Owned{AccountID: alice, Region: east}, ID: fmt.Sprintf("vol-%d", gib), Zone: "us-east-1a", SizeGiB: gib, Type: "gp2", State: resource.VolumeCreating,
			})
		})
	}
	c.quota(alice, map[string]int64{"ec2:quota-volumetotalsize": 10})
	c.code("its volume", add(8), "")
	c.code("its volume beyond the quota", add(3), "VolumeLimitExceeded")

	// So do those of the user, or the role, who asked for it.
	own := resource.Permissions{Inline: map[string]string{"quota": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ec2:*","Resource":"*"},
		{"Effect":"Limit","Action":"ec2:CreateVolume","Resource":"*","Condition":{"NumericLessThanEquals":{"ec2:quota-volumetotalsize":"4"}}}]}`}}
	c.write(func(tx *store.Tx) error {
		if err := store.Users.Put(tx, &resource.User{AccountID: bob, Name: "ann", ID: "AIDAANN", Path: "/", Permissions: own}); err != nil {
			return err
		}
		return store.Roles.Put(tx, &resource.IAMRole{AccountID: bob, Name: "deploy", ID: "AROADEPLOY", Path: "/", Permissions: own})
	})
	for _, tt := range []struct {
		creator string
		gib     int
		want    string
	}{{"AIDAANN", 5, "VolumeLimitExceeded"}, {"AIDAANN", 4, ""}, {"AIDAANN", 1, "VolumeLimitExceeded"}, {"AROADEPLOY", 5, "VolumeLimitExceeded"}, {"AROADEPLOY", 3, ""}, {"AIDAGONE", 6, ""}, {"", 7, ""}} {
		err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
			return c.AddVolume(tx, &resource.Volume{
				Owned: resource.Owned{AccountID: bob, Region: east, Creator: tt.creator}, ID: fmt.Sprintf("vol-%s%d", tt.creator, tt.gib), Zone: "us-east-1a", SizeGiB: tt.gib, Type: "gp2", State: resource.VolumeCreating,
			})
		})
		c.code(fmt.Sprint(tt), err, tt.want)
	}
}
